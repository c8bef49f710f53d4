// SPDX-License-Identifier: Apache-2.0
#include "simulation/crash_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/loop.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"

namespace byre::simulation {

namespace {

using storage::MemoryDevice;

constexpr size_t kFindingsShownMax = 12;
constexpr uint64_t kGenerationOfTrials = 0xfff00000;

Task<qcow2::CheckResult> check_files(const Files* files, bool shows_leaks, std::string* findings) {
  qcow2::OpenOptions options;
  options.for_check = true;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  qcow2::CheckOptions check_options;
  size_t shown = 0;
  check_options.on_finding = [&](const qcow2::Finding& finding) {
    if (finding.severity == qcow2::Severity::kLeak && !shows_leaks) return;
    if (++shown > kFindingsShownMax) return;
    *findings += "\n    " + problem_of(finding).message();
  };
  const qcow2::CheckResult result = co_await qcow2::check(*image, check_options);
  co_await image->close();
  co_return result;
}

// With the active disk's size.
Task<std::vector<uint8_t>> read_loaded(const Files* files, std::string snapshot, Base base) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options, std::move(base));
  qcow2::SnapshotSelector selector;
  selector.name = snapshot;
  co_await image->load_snapshot(selector);
  std::vector<uint8_t> bytes = co_await read_whole(image.get());
  co_await image->close();
  co_return bytes;
}

// With its own.
Task<std::vector<uint8_t>> read_disk_of(const Files* files, std::string snapshot) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  const std::vector<qcow2::layout::Snapshot>& all = image->snapshots();
  const auto found = std::ranges::find(all, snapshot, &qcow2::layout::Snapshot::name);
  auto file = std::make_unique<MemoryDevice>(files->file);
  const std::unique_ptr<qcow2::Image> disk =
      co_await image->open_snapshot(static_cast<size_t>(found - all.begin()), std::move(file));
  Base base{image->backing_filename(), image->backing_format()};
  OpenFile open_file = copies_of(&files->below);
  std::unique_ptr<BlockDevice> backing = co_await open_base(std::move(base), std::move(open_file));
  if (backing) disk->set_backing(std::move(backing));
  std::vector<uint8_t> bytes = co_await read_whole(disk.get());
  co_await disk->close();
  co_await image->close();
  co_return bytes;
}

// Makes a few writes, which must be there, with everything else, after a close.
Task<void> write_trials(const Files* files, std::vector<uint8_t>* expected, uint64_t seed,
                        Files* after) {
  qcow2::OpenOptions options;
  options.writable = true;
  auto file = std::make_unique<MemoryDevice>(files->file);
  MemoryDevice* const file_memory = file.get();
  std::unique_ptr<MemoryDevice> data;
  if (files->data) data = std::make_unique<MemoryDevice>(*files->data);
  MemoryDevice* const data_memory = data.get();
  OpenFile open_file = copies_of(&files->below);
  const std::unique_ptr<qcow2::Image> image =
      co_await open_image(std::move(file), std::move(data), std::move(open_file), options);
  Random random(seed);
  for (uint32_t i = 0; i < 4; ++i) {
    const uint64_t offset = random() % expected->size();
    const uint64_t length =
        std::min<uint64_t>(1 + random() % (3 * image->geometry().cluster_size()),
                           std::min<uint64_t>(expected->size() - offset, 256 * kKiB));
    std::vector<uint8_t> bytes(length);
    fill_content(bytes, offset, {static_cast<uint32_t>(kGenerationOfTrials + i), false});
    std::copy(bytes.begin(), bytes.end(), expected->begin() + static_cast<ptrdiff_t>(offset));
    const WriteBuffers from((ConstBytes(bytes)));
    co_await image->write(offset, from);
  }
  co_await image->close();
  after->file = file_memory->contents();
  if (data_memory != nullptr) after->data = data_memory->contents();
  after->below = files->below;
}

std::optional<std::string> first_difference(ConstBytes found, ConstBytes expected) {
  for (size_t at = 0; at < expected.size(); at += kSectorSize) {
    const ConstBytes want = expected.subspan(at, kSectorSize);
    const ConstBytes is = found.subspan(at, kSectorSize);
    if (std::ranges::equal(want, is)) continue;
    return fmt::format("sector {:#x} holds {} instead of {}", at / kSectorSize, describe(is),
                       describe(want));
  }
  return std::nullopt;
}

std::optional<std::string> try_writes(const Files& files, std::vector<uint8_t> expected,
                                      uint64_t seed) {
  if (expected.empty()) return std::nullopt;
  Files after;
  sync_wait(write_trials(&files, &expected, seed, &after));
  const std::optional<std::string> unsound = check_soundness(after, true);
  if (unsound) return "after writing to it: " + *unsound;
  const std::optional<std::string> wrong = first_difference(read_guest(after), expected);
  if (wrong) return "after writing to it: " + *wrong;
  return std::nullopt;
}

Task<bool> find_snapshot(const Files* files, std::string name) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  bool has = false;
  for (const qcow2::layout::Snapshot& snapshot : image->snapshots()) has |= snapshot.name == name;
  co_await image->close();
  co_return has;
}

std::optional<std::string> check_below(const Files& files) {
  for (const auto& [name, bytes] : files.below) {
    if (!is_image(bytes)) continue;
    const std::optional<std::string> unsound = check_soundness({bytes, {}, files.below}, true);
    if (unsound) return name + ": " + *unsound;
  }
  return std::nullopt;
}

Task<bool> has_saved_bitmap(const Files* files) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  bool has = false;
  for (const qcow2::layout::BitmapEntry& bitmap : image->bitmaps()) has |= !bitmap.in_use();
  co_await image->close();
  co_return has;
}

// A bitmap that is not marked as in use means that nothing was written since it was made.
std::optional<std::string> check_bitmap(const Files& files, ConstBytes guest,
                                        const std::vector<uint8_t>& of_bitmap) {
  if (!sync_wait(has_saved_bitmap(&files))) return std::nullopt;
  const std::optional<std::string> changed = first_difference(guest, of_bitmap);
  if (changed) return "the bitmap says that nothing was written: " + *changed;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> check_soundness(const Files& files, bool leaks_allowed) {
  std::string findings;
  const qcow2::CheckResult result = sync_wait(check_files(&files, !leaks_allowed, &findings));
  const bool is_sound = result.corruptions == 0 && result.check_errors == 0;
  if (is_sound && (leaks_allowed || result.leaks == 0)) return std::nullopt;
  return fmt::format("{} corruptions, {} errors of the check, {} leaks{}", result.corruptions,
                     result.check_errors, result.leaks, findings);
}

bool has_snapshot(const Files& files, const std::string& name) {
  return sync_wait(find_snapshot(&files, name));
}

std::optional<std::string> check_snapshot(const Files& files, const FrozenSnapshot& snapshot) {
  if (!has_snapshot(files, snapshot.name)) {
    if (!snapshot.is_certain) return std::nullopt;
    return fmt::format("snapshot '{}' is gone", snapshot.name);
  }
  // A snapshot is read with the active disk's size.
  const Files then{files.file, files.data, snapshot.below.files};
  std::vector<uint8_t> found = sync_wait(read_loaded(&then, snapshot.name, snapshot.below.base));
  found.resize(std::min(found.size(), snapshot.bytes.size()));
  const std::optional<std::string> wrong =
      first_difference(found, ConstBytes(snapshot.bytes).first(found.size()));
  if (wrong) return fmt::format("snapshot '{}': {}", snapshot.name, *wrong);
  return std::nullopt;
}

std::vector<uint8_t> read_snapshot(const Files& files, const std::string& name) {
  return sync_wait(read_disk_of(&files, name));
}

std::optional<std::string> check_crash(const Files& files, const Promise& promise, bool writes,
                                       uint64_t seed) {
  try {
    const bool needs_repair = is_dirty(files.file);
    if (!needs_repair) {
      const std::optional<std::string> unsound = check_soundness(files, true);
      if (unsound) return unsound;
    }
    if (promise.has_commits) {
      const std::optional<std::string> unsound = check_below(files);
      if (unsound) return unsound;
    }
    std::vector<uint8_t> bytes = read_guest(files);
    const std::optional<std::string> wrong = promise.model->check_crash(bytes);
    if (wrong) return wrong;
    if (promise.is_raw) {
      std::vector<uint8_t> raw(std::min<uint64_t>(files.data->size(), bytes.size()));
      files.data->read(0, raw);
      const std::optional<std::string> raw_wrong = promise.model->check_raw(raw);
      if (raw_wrong) return "in the raw data file: " + *raw_wrong;
    }
    if (*promise.of_bitmap) {
      const std::optional<std::string> stale = check_bitmap(files, bytes, **promise.of_bitmap);
      if (stale) return stale;
    }
    if (!promise.snapshots->empty()) {
      const std::optional<std::string> changed =
          check_snapshot(files, (*promise.snapshots)[seed % promise.snapshots->size()]);
      if (changed) return changed;
    }
    // A dirty image is repaired when it is opened for writing.
    if (writes) return try_writes(files, std::move(bytes), seed);
    return std::nullopt;
  } catch (const Error& error) {
    return fmt::format("it does not open or read: {} ({})", error.message(), error.hint());
  }
}

}  // namespace byre::simulation
