// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "async/turnstile.h"
#include "block/buffer.h"
#include "block/io_vector.h"
#include "codec/codec.h"
#include "qcow2/core/context.h"
#include "qcow2/write/linker.h"
#include "qcow2/write/writer.h"

namespace byre::qcow2 {

class Allocator;
class OverlapCheck;
class Preparation;

// Writes clusters in compressed form. They are compressed on the worker pool, several at once;
// then, in the order of the requests, they are allocated space one after another, without gaps. So
// the same requests in the same order give the same image, whichever cluster was compressed first.
// A cluster that does not become smaller is written uncompressed. Part of an image's WriteParts.
//
// After a failure each cluster of the request has either its old contents or its new ones.
class CompressedWriter {
 public:
  CompressedWriter(Context* context, Preparation* preparation, Allocator* allocator, Linker* linker,
                   Writer* writer, OverlapCheck* overlap);
  ~CompressedWriter();

  // Writes whole clusters; the last one may end at the end of the disk. Throws
  // Error(kInvalidArgument) for other ranges, Error(kUnsupported) if there is an external data
  // file.
  Task<void> write(GuestOffset offset, WriteBuffers from);

 private:
  // What compressing one cluster needs; reused for the next.
  struct CompressionContext {
    std::unique_ptr<codec::Compressor> compressor;
    Buffer in;  // the cluster, if the request has it in pieces or ends inside it
  };

  Task<void> write_cluster(GuestOffset offset, WriteBuffers from);
  // The compressed size in `out`, or nullopt if it would not be smaller.
  Task<std::optional<size_t>> compress(WriteBuffers from, Bytes out);
  Task<void> write_compressed(GuestOffset offset, ConstBytes compressed, Turnstile::Ticket ticket);
  std::unique_ptr<CompressionContext> take_context();

  Context* context_;
  Preparation* preparation_;
  Allocator* allocator_;
  Linker* linker_;
  Writer* writer_;
  OverlapCheck* overlap_;
  // Clusters in flight, and those of them that are being compressed. Permits of the first are
  // acquired in the order of tickets, so the cluster whose turn it is always has one.
  Semaphore under_way_;
  Semaphore compressing_;
  Turnstile places_;
  std::vector<std::unique_ptr<CompressionContext>> idle_;
  std::vector<Buffer> idle_buffers_;
};

}  // namespace byre::qcow2
