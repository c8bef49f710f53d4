// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include <cstdio>
#include <ctime>

#include "cli/sizes.h"

namespace byre::cli {
namespace {

std::string allocated_text(const std::optional<uint64_t>& size) {
  return size.has_value() ? human_size(*size) : "unavailable";
}

std::string size_text(uint64_t size) {
  return human_size(size) + " (" + std::to_string(size) + " bytes)";
}

std::string date_text(uint32_t seconds) {
  const time_t time = seconds;
  struct tm parts{};
  char text[32] = "";
  if (localtime_r(&time, &parts) != nullptr) {
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  }
  return text;
}

std::string clock_text(uint64_t nanoseconds) {
  const uint64_t milliseconds = nanoseconds / 1'000'000;
  const uint64_t seconds = milliseconds / 1000;
  char text[48];
  std::snprintf(text, sizeof text, "%04llu:%02u:%02u.%03u",
                static_cast<unsigned long long>(seconds / 3600),
                static_cast<unsigned>(seconds / 60 % 60), static_cast<unsigned>(seconds % 60),
                static_cast<unsigned>(milliseconds % 1000));
  return text;
}

// A row; texts that are too long push what follows to the right.
std::string row(const std::string& id, const std::string& tag, const std::string& vm_size,
                const std::string& date, const std::string& clock, const std::string& icount) {
  const auto left = [](std::string text, size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
  };
  const auto right = [](const std::string& text, size_t width) {
    return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
  };
  return left(id, 7) + ' ' + left(tag, 16) + ' ' + right(vm_size, 8) + ' ' + right(date, 19) + ' ' +
         right(clock, 15) + ' ' + right(icount, 10) + '\n';
}

void append_qcow2_lines(std::string& text, const jobs::Qcow2Info& qcow2) {
  text += "cluster_size: " + std::to_string(qcow2.header.cluster_size()) + "\n";
  if (qcow2.header.is_dirty()) text += "cleanly shut down: no\n";
  if (!qcow2.backing_filename.empty()) {
    text += "backing file: " + qcow2.backing_filename;
    if (qcow2.backing_path != qcow2.backing_filename) {
      text += " (actual path: " + qcow2.backing_path + ")";
    }
    text += "\n";
    if (!qcow2.backing_format.empty())
      text += "backing file format: " + qcow2.backing_format + "\n";
  }
  if (!qcow2.snapshots.empty()) text += "Snapshot list:\n" + snapshot_table(qcow2.snapshots);
  text += "Format specific information:\n" + qcow2_details(qcow2).to_human_text(1);
}

}  // namespace

std::string snapshot_table(const std::vector<qcow2::layout::Snapshot>& snapshots) {
  std::string text = row("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
  for (const qcow2::layout::Snapshot& snapshot : snapshots) {
    const std::optional<int64_t> count = instruction_count(snapshot);
    text += row(snapshot.id, snapshot.name, human_size(snapshot.vm_state_size),
                date_text(snapshot.date_sec), clock_text(snapshot.vm_clock_nsec),
                count.has_value() ? std::to_string(*count) : "--");
  }
  return text;
}

std::string info_to_human_text(const jobs::ImageInfo& info) {
  std::string text = "image: " + info.filename + "\nfile format: " + info.format +
                     "\nvirtual size: " + size_text(info.size) +
                     "\ndisk size: " + allocated_text(info.allocated_size) + "\n";
  if (info.qcow2.has_value()) {
    if (info.qcow2->header.crypt_method != qcow2::layout::CryptMethod::kNone) {
      text += "encrypted: yes\n";
    }
    append_qcow2_lines(text, *info.qcow2);
  }
  text += "Child node '/file':\n    filename: " + info.storage.filename +
          "\n    protocol type: " + info.storage.driver +
          "\n    file length: " + size_text(info.storage.size) +
          "\n    disk size: " + allocated_text(info.storage.allocated_size) + "\n";
  return text;
}

}  // namespace byre::cli
