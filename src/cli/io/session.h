// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "async/loop.h"
#include "block/block_device.h"
#include "cli/command.h"
#include "cli/io/opening.h"
#include "cli/io/request_group.h"

namespace byre::cli::io {

// One run of the shell: the loop, at most one open image on it, and the requests that run in
// parallel with the commands. It belongs to run_io(), which closes it at the end; commands change
// it.
class Session {
 public:
  explicit Session(const Invocation& invocation) : invocation_(invocation) {}
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Invocation& invocation() const { return invocation_; }
  bool is_open() const { return device_ != nullptr; }
  BlockDevice& device() const { return *device_; }
  // The same without the device that -C adds on top: the image itself.
  BlockDevice& image() const;
  // How the open image was opened.
  const OpenRequest& request() const { return request_; }

  // Throws Error, also if an image is already open.
  void open(OpenRequest request);
  // Opens the same image with other options. Throws Error if that is not possible; the image is
  // then open as before, or closed if that is not possible either.
  void reopen(const OpenRequest& request);
  // Waits for all requests, and writes everything back. The image is closed afterwards, even if it
  // throws. Does nothing if none is open.
  void close();

  // Runs a task to completion, and other requests as far as they get meanwhile.
  template <class T>
  T run(Task<T> task) {
    return loop_.run(std::move(task));
  }
  // Starts a request that runs in parallel with the following commands.
  void start(Task<void> request) { run(requests_.start(std::move(request))); }
  void wait_for_requests() { run_unstopped(requests_.wait_for_all()); }
  // Like run(), for a task that may stop at a breakpoint: a breakpoint that stops it is removed
  // when nothing else can run, as no command could resume the request. The user is informed, and
  // the shell's exit code is that of a failure.
  void run_unstopped(Task<void> task);

  // The device below the open image that has breakpoints; nullptr if there is none.
  DebugListener* debug_listener() const { return find_debug_listener(*device_); }
  // Records that a breakpoint with this tag was set.
  void note_breakpoint(std::string tag) { breakpoints_.insert(std::move(tag)); }

  void quit() { quits_ = true; }
  bool quits() const { return quits_; }
  // Whether there was a failure that did not belong to a single command.
  bool has_failed() const { return has_failed_; }

 private:
  void open_anew(const OpenRequest& request);
  Task<void> watch(Task<void> task);
  void remove_breakpoints();

  const Invocation& invocation_;
  Loop loop_;
  OpenRequest request_;
  std::unique_ptr<BlockDevice> device_;
  RequestGroup requests_;
  std::set<std::string> breakpoints_;  // tags, since the image was opened
  bool quits_ = false;
  bool has_failed_ = false;
};

}  // namespace byre::cli::io
