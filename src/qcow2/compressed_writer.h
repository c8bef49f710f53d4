// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "block/buffer.h"
#include "block/io_vector.h"
#include "codec/codec.h"
#include "qcow2/image.h"
#include "qcow2/linker.h"
#include "qcow2/writer.h"

namespace byre::qcow2 {

class Allocator;

// Clusters in compressed form. Each is compressed on the worker pool, several at once; then, in the
// order in which they are ready, they get their places one behind the other, to the byte. A cluster
// that does not become smaller is written as it is. Part of an image's WriteState.
class CompressedWriter {
 public:
  CompressedWriter(Image::State* state, Allocator* allocator, Linker* linker, Writer* writer);
  ~CompressedWriter();

  // Whole clusters; the last one may end at the end of the disk. Throws Error(kInvalidArgument) for
  // other ranges, Error(kUnsupported) where there is an external data file.
  Task<void> write(GuestOffset offset, IoVector from);

 private:
  // What compressing one cluster takes; kept for the next.
  struct Workshop {
    std::unique_ptr<codec::Compressor> compressor;
    Buffer in;   // the cluster, where the request has it in pieces or ends inside it
    Buffer out;  // one cluster
  };

  Task<void> write_cluster(GuestOffset offset, IoVector from);
  Task<void> write_compressed(GuestOffset offset, ConstBytes compressed);
  std::unique_ptr<Workshop> take_workshop();

  Image::State* state_;
  Allocator* allocator_;
  Linker* linker_;
  Writer* writer_;
  Semaphore in_work_;
  std::vector<std::unique_ptr<Workshop>> idle_;
};

}  // namespace byre::qcow2
