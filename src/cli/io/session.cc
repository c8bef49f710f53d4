// SPDX-License-Identifier: Apache-2.0
#include "cli/io/session.h"

#include <cerrno>

#include "cli/messages.h"

namespace byre::cli::io {

Session::~Session() {
  BYRE_ASSERT(device_ == nullptr);
}

void Session::open(OpenRequest request) {
  if (is_open()) {
    throw Error(ErrorKind::kExists, EEXIST, "file open already, try 'help close'");
  }
  request_ = request;
  device_ = run(open_device(std::move(request), open_warning_printer(invocation_)));
}

void Session::reopen(OpenRequest request) {
  close();
  const OpenRequest before = request_;
  std::optional<Error> failure;
  try {
    open(std::move(request));
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure.has_value()) return;
  open(before);
  throw *failure;
}

void Session::close() {
  if (!is_open()) return;
  wait_for_requests();
  const std::unique_ptr<BlockDevice> device = std::exchange(device_, nullptr);
  run(device->close());
}

}  // namespace byre::cli::io
