// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <utility>

#include "async/task.h"
#include "byre/error.h"
#include "qcow2/image/image_parts.h"

// How an image runs the requests that change it.
namespace byre::qcow2 {

// A change of many tables at once; `change` returns its task.
template <typename Change>
Task<void> change_tables(ImageParts* image, Change change) {
  WriteParts& parts = image->write_parts();
  co_await parts.preparation.begin();
  Task<void> task = change(parts);
  co_await std::move(task);
  image->is_preallocated.reset();
}

// Runs a request. If the disk is full but clusters are free, or will be once a flush has made their
// removal durable, the request is run once more: writing the same bytes again is harmless. If the
// request finds the image corrupt, the image is marked so. `make_request` returns the request's
// task.
template <typename MakeRequest>
Task<void> run_request(ImageParts* image, MakeRequest make_request) {
  image->cache_cleaner.clean_if_due();
  std::exception_ptr error;
  bool is_full = false;
  try {
    Task<void> request = make_request();
    co_await std::move(request);
  } catch (const Error& failure) {
    error = std::current_exception();
    is_full = failure.kind() == ErrorKind::kNoSpace;
  }
  if (!error) co_return;
  bool may_try_again = false;
  const bool may_make_room = is_full && image->writing;
  if (may_make_room) may_try_again = co_await image->writing->flusher.make_room();
  if (may_try_again) {
    error = nullptr;
    try {
      Task<void> request = make_request();
      co_await std::move(request);
    } catch (const Error&) {
      error = std::current_exception();
    }
  }
  if (error) co_await image->context.end_failed_request(error);
}

}  // namespace byre::qcow2
