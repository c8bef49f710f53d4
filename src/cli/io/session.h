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

// One run of the shell: the loop, at most one open image on it, and the requests that run beside
// the commands. It belongs to run_io(), which closes it at the end; commands change it.
class Session {
 public:
  explicit Session(const Invocation& invocation) : invocation_(invocation) {}
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Invocation& invocation() const { return invocation_; }
  bool is_open() const { return device_ != nullptr; }
  BlockDevice& device() const { return *device_; }
  // The same without what -C puts over it: the image itself.
  BlockDevice& image() const;
  // How the open image was opened.
  const OpenRequest& request() const { return request_; }

  // Throws Error, also where an image is open already.
  void open(OpenRequest request);
  // The same image, opened otherwise. Throws Error where that cannot be; the image is then open as
  // it was before, or, where that cannot be either, closed.
  void reopen(const OpenRequest& request);
  // Waits for all requests, writes everything back. The image is closed afterwards, also when it
  // throws. Nothing where none is open.
  void close();

  // Runs a task to its end, and other requests as far as they get meanwhile.
  template <class T>
  T run(Task<T> task) {
    return loop_.run(std::move(task));
  }
  // Begins a request that goes on beside the next commands.
  void start(Task<void> request) { run(requests_.start(std::move(request))); }
  void wait_for_requests() { run_unstopped(requests_.wait_for_all()); }
  // As run(), where the task may come to a breakpoint: one that stops it is removed when nothing
  // else can go on, as nobody could let the request go on. The user is told, and the shell's exit
  // code is that of a failure.
  void run_unstopped(Task<void> task);

  // Whoever keeps breakpoints below the open image; nullptr: nobody.
  DebugListener* debug_listener() const { return find_debug_listener(*device_); }
  // A breakpoint with this tag was set.
  void note_breakpoint(std::string tag) { breakpoints_.insert(std::move(tag)); }

  void quit() { quits_ = true; }
  bool quits() const { return quits_; }
  // Something went wrong that was no single command's.
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
