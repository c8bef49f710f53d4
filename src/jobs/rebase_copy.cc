// SPDX-License-Identifier: Apache-2.0
#include "jobs/rebase_copy.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "byre/error.h"
#include "jobs/convert.h"
#include "jobs/rebase_source.h"

namespace byre::jobs {
namespace {

// The image that the failure is about.
Task<std::string> file_of(Error failure, BlockDevice* image, BlockDevice* base) {
  const std::string& own = image->filename();
  if (failure.data().code == "convert-kept-unreadable") co_return base->filename();
  if (failure.data().code != "convert-read-failed") co_return own;
  const uint64_t offset = failure.data().offset.value_or(0);
  uint32_t depth = 0;
  try {
    const std::vector<Extent> extents = co_await image->extents(offset, 1, ExtentScope::kChain);
    depth = extents.front().depth;
  } catch (const Error&) {
    co_return own;
  }
  const RebaseSource chain(image, nullptr);
  co_return depth < chain.layers().size() ? chain.layers()[depth]->filename() : own;
}

Error as_rebase_error(const Error& error, const std::string& file) {
  struct Codes {
    Literal of_convert;
    Literal own;
  };
  constexpr Codes kCodes[] = {{"convert-read-failed", "rebase-old-unreadable"},
                              {"convert-kept-unreadable", "rebase-new-unreadable"},
                              {"convert-write-failed", "rebase-write-failed"},
                              {"convert-extents-unreadable", "rebase-extents-unreadable"}};
  for (const Codes& each : kCodes) {
    if (error.data().code != each.of_convert) continue;
    return Error(error.kind(), error.errno_value(),
                 ErrorData{.code = each.own, .offset = error.data().offset, .file = file},
                 error.sentence())
        .with_hint(error.hint());
  }
  return error;
}

}  // namespace

Task<void> copy_differences(BlockDevice* image, BlockDevice* base, bool compressed,
                            Progress* progress, const Cancellation* cancellation) {
  RebaseSource source(image, base);
  ConvertOptions options;
  options.layers = 1;
  options.write_order = WriteOrder::kAny;
  options.compressed = compressed;
  options.kept = base;
  const Limits& limits = image->limits();
  options.kept_unit =
      std::max(limits.preferred_transfer, compressed ? limits.compressed_write_size : 0);
  std::vector<BlockDevice*> sources{&source};
  std::optional<Error> failure;
  try {
    co_await convert(std::move(sources), *image, std::move(options), progress, cancellation);
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) co_return;
  const std::string file = co_await file_of(*failure, image, base);
  throw as_rebase_error(*failure, file);
}

}  // namespace byre::jobs
