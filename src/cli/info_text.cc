// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include <algorithm>
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

// A name as a part of one line: what follows a newline in it is not indented. No name has a zero
// byte.
std::string one_line(std::string name) {
  std::replace(name.begin(), name.end(), '\n', '\0');
  return name;
}

void append_qcow2_lines(std::string& text, const jobs::Qcow2Info& qcow2) {
  if (!qcow2.backing_filename.empty()) {
    text += "backing file: " + one_line(qcow2.backing_filename);
    if (qcow2.backing_path != qcow2.backing_filename) {
      text += " (actual path: " + one_line(qcow2.backing_path) + ")";
    }
    text += "\n";
    if (!qcow2.backing_format.empty())
      text += "backing file format: " + qcow2.backing_format + "\n";
  }
  if (!qcow2.snapshots.empty()) text += "Snapshot list:\n" + snapshot_table(qcow2.snapshots);
  text += "Format specific information:\n" + qcow2_details(qcow2).to_human_text(1);
}

std::string storage_text(const jobs::ImageInfo& info) {
  return "filename: " + one_line(info.filename) + "\nprotocol type: " + info.format +
         "\nfile length: " + size_text(info.size) +
         "\ndisk size: " + allocated_text(info.allocated_size) + "\n";
}

std::string image_text(const jobs::ImageInfo& info) {
  std::string text = "image: " + one_line(info.filename) + "\nfile format: " + info.format +
                     "\nvirtual size: " + size_text(info.size) +
                     "\ndisk size: " + allocated_text(info.allocated_size) + "\n";
  const bool is_encrypted =
      info.qcow2 && info.qcow2->header.crypt_method != qcow2::layout::CryptMethod::kNone;
  if (is_encrypted) text += "encrypted: yes\n";
  if (info.cluster_size) text += "cluster_size: " + std::to_string(*info.cluster_size) + "\n";
  if (info.is_dirty.value_or(false)) text += "cleanly shut down: no\n";
  if (info.qcow2) append_qcow2_lines(text, *info.qcow2);
  return text;
}

// Four spaces a level before each line.
void append_indented(std::string& text, const std::string& lines, size_t level) {
  size_t start = 0;
  while (start < lines.size()) {
    const size_t end = lines.find('\n', start) + 1;
    std::string line = lines.substr(start, end - start);
    std::replace(line.begin(), line.end(), '\0', '\n');
    text.append(level * 4, ' ').append(line);
    start = end;
  }
}

void append_node(std::string& text, const jobs::ImageInfo& info, const std::string& path,
                 size_t level) {
  const bool is_below = level > 0;
  append_indented(text, is_below && info.is_storage() ? storage_text(info) : image_text(info),
                  level);
  for (const jobs::ChildInfo& child : info.children) {
    const std::string name = path + "/" + child.name;
    append_indented(text, "Child node '" + name + "':\n", level);
    append_node(text, child.info, name, level + 1);
  }
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
  std::string text;
  append_node(text, info, "", 0);
  return text;
}

}  // namespace byre::cli
