// SPDX-License-Identifier: Apache-2.0
// device_bench [-f FMT] [-t CACHE] [-i AIO] [-c COUNT] [-d DEPTH] [-o OFFSET] [-s SIZE] [-S STEP]
//   [-w] [--flush-interval N] FILE
//
// Does what `qemu-img bench` does, with the same options and the same last line, on byre's devices:
// COUNT requests of SIZE bytes, DEPTH of them in flight, each STEP bytes after the previous one,
// wrapping at the end of the disk. With a step that has few factors in common with the disk's size
// the offsets look random, and are the same for both programs. Only the time of the requests is
// measured.
#include <getopt.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/when_all.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "open/open.h"

namespace {

using namespace byre;

struct BenchOptions {
  open::ImageOptions image;
  std::string filename;
  uint64_t count = 75000;
  uint64_t depth = 64;
  uint64_t offset = 0;
  uint64_t size = 4096;
  uint64_t step = 0;  // 0: the size of a request
  uint64_t flush_interval = 0;
  bool writes = false;
};

class DeviceBench {
 public:
  DeviceBench(BlockDevice* device, const BenchOptions& options)
      : device_(device), options_(options), next_offset_(options.offset) {
    for (uint64_t i = 0; i < options.depth; ++i) {
      buffers_.push_back(Buffer::zeroed(options.size));
      std::memset(buffers_.back().data(), options.writes ? 0xa5 : 0, options.size);
    }
  }

  Task<void> run() {
    const uint64_t group = options_.flush_interval == 0 ? options_.count : options_.flush_interval;
    for (uint64_t done = 0; done < options_.count; done += group) {
      issued_max_ = std::min(done + group, options_.count);
      if (options_.depth == 1 || group == 1) {
        co_await lane(0);
      } else {
        std::vector<Task<void>> lanes;
        for (uint64_t i = 0; i < options_.depth; ++i) lanes.push_back(lane(i));
        co_await when_all(std::move(lanes));
      }
      if (options_.flush_interval != 0) co_await device_->flush();
    }
  }

 private:
  // One request after another, until all have been issued.
  Task<void> lane(uint64_t index) {
    const uint64_t step = options_.step == 0 ? options_.size : options_.step;
    while (issued_ < issued_max_) {
      const uint64_t offset = next_offset_;
      next_offset_ = (next_offset_ + step) % device_->size();
      ++issued_;
      const ReadBuffers memory(buffers_[index].bytes());
      if (options_.writes) {
        co_await device_->write(offset, memory, WriteFlags::kNone);
      } else {
        co_await device_->read(offset, memory);
      }
    }
  }

  BlockDevice* device_;
  const BenchOptions& options_;
  uint64_t next_offset_;
  uint64_t issued_ = 0;
  uint64_t issued_max_ = 0;
  std::vector<Buffer> buffers_;
};

Task<void> bench(const BenchOptions* options) {
  std::unique_ptr<BlockDevice> device =
      co_await open::open_image(options->filename, options->image);
  DeviceBench run(device.get(), *options);
  const auto begin = std::chrono::steady_clock::now();
  co_await run.run();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("Run completed in %.6f seconds.\n", time.count());
  co_await device->close();
}

uint64_t number(const char* text) {
  uint64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, std::string("not a number: ") + text);
  }
  return value;
}

BenchOptions parse(int count, char** arguments) {
  BenchOptions options;
  const option long_options[] = {{"flush-interval", required_argument, nullptr, 'F'}, {}};
  int letter = 0;
  while ((letter = getopt_long(count, arguments, "f:t:i:c:d:o:s:S:w", long_options, nullptr)) !=
         -1) {
    switch (letter) {
      case 'f':
        options.image.format = optarg;
        break;
      case 't':
        options.image.cache = storage::parse_cache_mode(optarg).value();
        break;
      case 'i':
        options.image.io = storage::parse_io_backend(optarg).value();
        break;
      case 'c':
        options.count = number(optarg);
        break;
      case 'd':
        options.depth = number(optarg);
        break;
      case 'o':
        options.offset = number(optarg);
        break;
      case 's':
        options.size = number(optarg);
        break;
      case 'S':
        options.step = number(optarg);
        break;
      case 'w':
        options.writes = true;
        options.image.writable = true;
        break;
      case 'F':
        options.flush_interval = number(optarg);
        break;
      default:
        throw Error(ErrorKind::kInvalidArgument, EINVAL, "see the top of bench/device_bench.cc");
    }
  }
  if (optind != count - 1)
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "one file name, please");
  options.filename = arguments[optind];
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const BenchOptions options = parse(count, arguments);
    Loop loop;
    loop.run(bench(&options));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
