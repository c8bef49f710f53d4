// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include <cstdio>
#include <ctime>
#include <utility>
#include <vector>

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

// A row; texts that are too long shift the following columns to the right.
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
         right(clock, 15) + ' ' + right(icount, 10);
}

// Text of nested nodes: each level adds four spaces before each line. A newline in a name is part
// of its line, as in QEMU.
class NodeText {
 public:
  void add_line(const std::string& line) {
    text_.append(level_ * 4, ' ').append(line).append("\n");
  }
  void add_details(const JsonText& details) {
    text_ += details.to_human_text(static_cast<int>(level_) + 1);
  }
  void add_node(const jobs::ImageInfo& info, const std::string& path);
  std::string take() { return std::move(text_); }

 private:
  void add_storage(const jobs::ImageInfo& info);
  void add_image(const jobs::ImageInfo& info);
  void add_qcow2(const jobs::Qcow2Info& qcow2);
  void add_file_details(const jobs::ImageInfo& info);

  std::string text_;
  size_t level_ = 0;
};

void NodeText::add_qcow2(const jobs::Qcow2Info& qcow2) {
  if (!qcow2.backing_filename.empty()) {
    std::string line = "backing file: " + qcow2.backing_filename;
    if (qcow2.backing_path != qcow2.backing_filename) {
      line += " (actual path: " + qcow2.backing_path + ")";
    }
    add_line(line);
    if (!qcow2.backing_format.empty()) add_line("backing file format: " + qcow2.backing_format);
  }
  if (!qcow2.snapshots.empty()) {
    add_line("Snapshot list:");
    for (const std::string& line : snapshot_rows(qcow2.snapshots)) add_line(line);
  }
  add_line("Format specific information:");
  add_details(qcow2_details(qcow2));
}

void NodeText::add_file_details(const jobs::ImageInfo& info) {
  if (info.extent_size_hint == 0) return;
  add_line("Format specific information:");
  add_details(file_details(info));
}

void NodeText::add_storage(const jobs::ImageInfo& info) {
  add_line("filename: " + info.filename);
  add_line("protocol type: " + info.format);
  add_line("file length: " + size_text(info.size));
  add_line("disk size: " + allocated_text(info.allocated_size));
  add_file_details(info);
}

void NodeText::add_image(const jobs::ImageInfo& info) {
  add_line("image: " + info.filename);
  add_line("file format: " + info.format);
  add_line("virtual size: " + size_text(info.size));
  add_line("disk size: " + allocated_text(info.allocated_size));
  const bool is_encrypted = info.qcow2 && info.qcow2->encryption != jobs::Encryption::kNone;
  if (is_encrypted) add_line("encrypted: yes");
  if (info.cluster_size) add_line("cluster_size: " + std::to_string(*info.cluster_size));
  if (info.is_dirty.value_or(false)) add_line("cleanly shut down: no");
  if (info.qcow2) add_qcow2(*info.qcow2);
  add_file_details(info);
}

void NodeText::add_node(const jobs::ImageInfo& info, const std::string& path) {
  if (level_ > 0 && info.is_storage()) {
    add_storage(info);
  } else {
    add_image(info);
  }
  for (const jobs::ChildInfo& child : info.children) {
    const std::string name = path + "/" + child.name;
    add_line("Child node '" + name + "':");
    ++level_;
    add_node(child.info, name);
    --level_;
  }
}

}  // namespace

std::vector<std::string> snapshot_rows(const std::vector<jobs::SnapshotInfo>& snapshots) {
  std::vector<std::string> rows{row("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT")};
  for (const jobs::SnapshotInfo& snapshot : snapshots) {
    const std::optional<int64_t>& count = snapshot.instruction_count;
    rows.push_back(row(snapshot.id, snapshot.name, human_size(snapshot.vm_state_size),
                       date_text(snapshot.date_sec), clock_text(snapshot.vm_clock_nsec),
                       count.has_value() ? std::to_string(*count) : "--"));
  }
  return rows;
}

std::string info_to_human_text(const jobs::ImageInfo& info) {
  NodeText text;
  text.add_node(info, "");
  return text.take();
}

}  // namespace byre::cli
