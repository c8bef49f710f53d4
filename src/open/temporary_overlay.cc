// SPDX-License-Identifier: Apache-2.0
#include "open/temporary_overlay.h"

#include <utility>

#include "qcow2/create/create.h"
#include "qcow2/image/image.h"
#include "storage/spool.h"

namespace byre::open {

Task<std::unique_ptr<BlockDevice>> put_temporary_overlay(std::unique_ptr<BlockDevice> backing,
                                                         bool writable, RequestPolicy policy) {
  std::unique_ptr<storage::FileDevice> file = co_await storage::unnamed_file(backing->filename());
  qcow2::CreateOptions layout;
  layout.size = backing->size();
  co_await qcow2::create(*file, nullptr, std::move(layout));
  qcow2::OpenOptions options;
  options.writable = writable;
  options.policy = policy;
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file), std::move(options));
  image->set_backing(std::move(backing));
  co_return image;
}

}  // namespace byre::open
