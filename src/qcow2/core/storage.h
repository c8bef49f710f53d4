// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "block/block_device.h"

namespace byre::qcow2 {

// The devices of an open image. The file holds its metadata, and the guest's data unless there is
// an external data file. The external data file and the backing file are set before the first
// request, or never.
class Storage {
 public:
  explicit Storage(std::unique_ptr<BlockDevice> file)
      : file_(std::move(file)), events_(file_->debug_listener()), data_events_(events_) {}

  void set_backing(std::unique_ptr<BlockDevice> backing) { backing_ = std::move(backing); }
  void set_data_file(std::unique_ptr<BlockDevice> data_file) {
    data_file_ = std::move(data_file);
    data_events_ = DebugEvents(data_file_->debug_listener());
  }

  BlockDevice& file() const { return *file_; }
  BlockDevice* backing() const { return backing_.get(); }      // nullptr: none
  BlockDevice* data_file() const { return data_file_.get(); }  // nullptr: none, or not given
  // The device that holds the guest's data.
  BlockDevice& data_device() const { return data_file_ ? *data_file_ : *file_; }
  // For fault injectors below the file, and below the device that holds the guest's data.
  const DebugEvents& events() const { return events_; }
  const DebugEvents& data_events() const { return data_events_; }

 private:
  std::unique_ptr<BlockDevice> file_;
  std::unique_ptr<BlockDevice> backing_;
  std::unique_ptr<BlockDevice> data_file_;
  DebugEvents events_;
  DebugEvents data_events_;
};

}  // namespace byre::qcow2
