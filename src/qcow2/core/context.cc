// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/context.h"

#include <utility>

#include "byre/error.h"

namespace byre::qcow2 {

namespace {

Health::Phase first_phase(const OpenOptions& options, const layout::Header& header,
                          bool is_repaired) {
  if (!options.writable) return Health::Phase::kReadOnly;
  return header.is_dirty() && !is_repaired ? Health::Phase::kUnrepaired : Health::Phase::kFresh;
}

}  // namespace

Context::Context(std::unique_ptr<BlockDevice> file, OpenOptions options_,
                 layout::HeaderCluster first_cluster, bool is_repaired)
    : options(std::move(options_)),
      geometry(first_cluster.header),
      storage(std::move(file)),
      health(storage.file(), first_phase(options, first_cluster.header, is_repaired),
             options.on_warning),
      header_store(std::move(first_cluster), &storage.file(), &health) {}

layout::GuestOffset Context::vm_state_start() const {
  return layout::GuestOffset(geometry.l1_entries_for(disk_size()) * geometry.l2_coverage());
}

bool Context::uses_lazy_refcounts() const {
  return header().version >= 3 && options.lazy_refcounts.value_or(header().has_lazy_refcounts());
}

Task<void> Context::flush_devices() {
  health.check_not_failed();
  std::exception_ptr error;
  try {
    if (storage.data_file() != nullptr) co_await storage.data_file()->flush();
    co_await file().flush();
  } catch (const Error& failed) {
    // The next flush could succeed and yet omit what this one was for.
    health.note_failure(failed, Health::Operation::kFlush);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
  // Another flush failed meanwhile, and the host may have dropped what this one was for.
  health.check_not_failed();
}

Task<void> Context::end_failed_request(std::exception_ptr error) {
  try {
    co_await header_store.mark_if_corrupt();
  } catch (const Error&) {
    // The request's own error is more relevant.
  }
  std::rethrow_exception(error);
}

}  // namespace byre::qcow2
