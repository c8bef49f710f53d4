// SPDX-License-Identifier: Apache-2.0
#include "cli/io/session.h"

#include <cerrno>
#include <exception>

#include "block/close_after.h"
#include "cli/messages.h"

namespace byre::cli::io {

namespace {

void print_text(const std::string& text) {
  print(text);
}

// The interval between checks for a request at a breakpoint, while others run.
constexpr std::chrono::milliseconds kLook{1};

Task<void> run_and_note(Task<void> task, std::exception_ptr* error, bool* has_ended) {
  try {
    co_await std::move(task);
  } catch (...) {
    *error = std::current_exception();
  }
  *has_ended = true;
}

}  // namespace

Session::~Session() {
  BYRE_ASSERT(device_ == nullptr);
}

BlockDevice& Session::image() const {
  return request_.copy_on_read ? *device_->children().front().device : *device_;
}

void Session::open(OpenRequest request) {
  if (is_open()) {
    throw Error(ErrorKind::kExists, EEXIST, "file open already, try 'help close'");
  }
  try {
    open_anew(request);
  } catch (const Error& error) {
    throw error.with_prefix(request.filename.has_value() ? "can't open device " + *request.filename
                                                         : "can't open");
  }
}

void Session::open_anew(const OpenRequest& request) {
  request_ = request;
  request_.reads_pipes = !invocation_.as_qemu();
  device_ = run(open_device(request_, open_warning_printer(invocation_), print_text));
}

void Session::run_unstopped(Task<void> task) {
  if (breakpoints_.empty()) {
    run(std::move(task));
  } else {
    run(watch(std::move(task)));
  }
}

Task<void> Session::watch(Task<void> task) {
  std::exception_ptr error;
  bool has_ended = false;
  // A separate group: it is not a request that others wait for.
  RequestGroup group;
  co_await group.start(run_and_note(std::move(task), &error, &has_ended));
  while (!has_ended) {
    co_await loop_.yield();
    if (has_ended) break;
    if (loop_.is_idle()) {
      remove_breakpoints();
    } else {
      co_await loop_.sleep_for(kLook);
    }
  }
  co_await group.wait_for_all();
  if (error) std::rethrow_exception(error);
}

void Session::remove_breakpoints() {
  DebugListener* const listener = debug_listener();
  BYRE_ASSERT(listener != nullptr && !breakpoints_.empty());
  has_failed_ = true;
  for (const std::string& tag : std::exchange(breakpoints_, {})) {
    print_error(invocation_,
                "No command can resume the request stopped at breakpoint '" + tag + "'");
    listener->remove_breakpoint(tag);
  }
}

void Session::reopen(const OpenRequest& request) {
  close();
  const OpenRequest before = request_;
  std::optional<Error> failure;
  try {
    open_anew(request);
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure.has_value()) return;
  open_anew(before);
  throw *failure;
}

void Session::close() {
  if (!is_open()) return;
  std::exception_ptr error;
  try {
    wait_for_requests();
  } catch (...) {
    error = std::current_exception();
  }
  breakpoints_.clear();
  const std::unique_ptr<BlockDevice> device = std::exchange(device_, nullptr);
  run(close_after(device.get(), error));
}

}  // namespace byre::cli::io
