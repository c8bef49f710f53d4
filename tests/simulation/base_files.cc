// SPDX-License-Identifier: Apache-2.0
#include "simulation/base_files.h"

#include <algorithm>
#include <utility>

#include "async/loop.h"
#include "qcow2/create/create.h"
#include "simulation/sector_content.h"
#include "storage/memory_device.h"

namespace byre::simulation {

namespace {

using storage::MemoryDevice;
using storage::SparseBytes;

constexpr uint64_t kPartSectorsMax = 40;

// Calls `use` for parts of random length, in order.
template <typename Use>
void for_parts(uint64_t size, Random& random, const Use& use) {
  for (uint64_t at = 0; at < size;) {
    const uint64_t length = std::min((1 + random() % kPartSectorsMax) * kSectorSize, size - at);
    use(at, length);
    at += length;
  }
}

void copy_inside(ConstBytes from, uint64_t offset, Bytes to) {
  if (offset >= from.size()) return;
  std::ranges::copy(from.subspan(offset, std::min<uint64_t>(to.size(), from.size() - offset)),
                    to.begin());
}

qcow2::CreateOptions draw_image(uint64_t size, const Base& on, Random& random) {
  qcow2::CreateOptions options;
  options.size = size;
  options.cluster_size = uint64_t{1} << (9 + random() % 6);
  options.version = one_in(random, 4) ? 2 : 3;
  options.backing_filename = on.name;
  options.backing_format = on.format;
  return options;
}

struct Part {
  uint64_t offset;
  uint64_t length;
};

// An image with those parts of the contents; it finds the others below.
Task<SparseBytes> write_image(const FilesByName* files, ConstBytes contents,
                              std::vector<Part> parts, qcow2::CreateOptions create) {
  auto file = std::make_unique<MemoryDevice>();
  MemoryDevice* const memory = file.get();
  co_await qcow2::create(*file, nullptr, create);
  qcow2::OpenOptions options;
  options.writable = true;
  options.policy.detect_zeroes = DetectZeroes::kOn;
  OpenFile open_file = copies_of(files);
  const std::unique_ptr<qcow2::Image> image =
      co_await open_image(std::move(file), nullptr, std::move(open_file), options);
  for (const Part& part : parts) {
    const WriteBuffers from(contents.subspan(part.offset, part.length));
    co_await image->write(part.offset, from);
  }
  co_await image->close();
  co_return memory->contents();
}

}  // namespace

Base make_base(FilesByName* files, const std::string& name, ConstBytes contents, bool is_image,
               Random& random) {
  SparseBytes raw(contents.size());
  raw.write(0, contents);
  if (!is_image || contents.empty()) {
    (*files)[name] = with_holes(std::move(raw));
    return {name, "raw"};
  }
  std::vector<Part> parts;
  for_parts(contents.size(), random, [&](uint64_t offset, uint64_t length) {
    if (one_in(random, 2)) return;
    parts.push_back({offset, length});
    std::vector<uint8_t> other(length);
    fill_content(other, offset, {kStrangerGeneration, false});
    raw.write(offset, other);
  });
  const Base bottom{"below " + name, "raw"};
  (*files)[bottom.name] = with_holes(std::move(raw));
  const qcow2::CreateOptions create = draw_image(contents.size(), bottom, random);
  (*files)[name] = sync_wait(write_image(files, contents, std::move(parts), create));
  return {name, "qcow2"};
}

std::vector<uint8_t> draw_base_contents(uint64_t size, ConstBytes guest, ConstBytes base,
                                        uint32_t generation, Random& random) {
  std::vector<uint8_t> contents(size);
  for_parts(size, random, [&](uint64_t offset, uint64_t length) {
    const Bytes here = Bytes(contents).subspan(offset, length);
    switch (random() % 4) {
      case 0:
        copy_inside(guest, offset, here);
        break;
      case 1:
        copy_inside(base, offset, here);
        break;
      case 2:
        fill_content(here, offset, {generation, false});
        break;
      default:
        break;
    }
  });
  return contents;
}

}  // namespace byre::simulation
