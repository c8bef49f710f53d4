// SPDX-License-Identifier: Apache-2.0
#include "support/replaced_new.h"
#if BYRE_CAN_FAIL_ALLOCATIONS

#include <string>
#include <thread>
#include <vector>

#include "unit/qcow2/image/fault_layouts.h"
#include "unit/qcow2/image_with_bitmaps.h"
#include "unit/qcow2/writing_test.h"

// Memory runs out while an image is written to.
namespace byre::qcow2::test {
namespace {

using faults::MemoryFaults;

// What a script runs on: a layout, and what else its image has.
struct Subject {
  enum class Has { kNothingElse, kSnapshot, kBitmaps };

  std::string name;
  Layout layout;
  Has has = Has::kNothingElse;
};

// The sizes are those that share_everything() and disks_with_bitmaps() require.
std::vector<Subject> subjects() {
  std::vector<Subject> all;
  for (const Layout& layout : layouts()) {
    all.push_back({"layout " + std::to_string(all.size() + 1), layout});
  }
  all.push_back({"snapshot", layout_of(64 * 1024, 4096), Subject::Has::kSnapshot});
  all.push_back({"bitmaps", layout_of(768 * 1024, 65536), Subject::Has::kBitmaps});
  for (const bool is_raw : {false, true}) {
    Layout data = layout_of(128 * 1024, 1024);
    data.create.data_filename = "data";
    data.create.data_file_raw = is_raw;
    data.compresses = false;
    all.push_back({is_raw ? "raw data file" : "data file", data});
  }
  return all;
}

// The first data of a subject with a snapshot.
Request first_write(const Layout& layout) {
  return {.kind = Request::Kind::kWrite, .offset = 0, .length = layout.create.size, .seed = 99};
}

Disks make_disks(const Subject& subject) {
  if (subject.has == Subject::Has::kBitmaps) {
    return disks_with_bitmaps(subject.layout, {{"follows", layout::bitmap_flag::kAuto},
                                               {"stays", 0},
                                               {"follows too", layout::bitmap_flag::kAuto}});
  }
  Disks disks = make_disks(subject.layout);
  if (subject.has != Subject::Has::kSnapshot) return disks;
  Loop loop;
  OpenImage opened = loop.run(open_disks(std::move(disks), {}, for_writing()));
  loop.run(apply(opened.image.get(), first_write(subject.layout)));
  loop.run(opened.image->close());
  disks = opened.snapshot();
  share_everything(*disks.file, subject.layout.create.cluster_size);
  return disks;
}

// Expects everything else in the image to be unchanged.
void expect_the_rest_holds(const OpenImage& opened, const Subject& subject) {
  if (subject.has == Subject::Has::kNothingElse) return;
  Loop loop;
  OpenImage again = loop.run(open_disks(opened.snapshot(), {}, {}));
  if (subject.has == Subject::Has::kSnapshot) {
    SnapshotSelector selector;
    selector.name = "before";
    loop.run(again.image->load_snapshot(selector));
    EXPECT_EQ(loop.run(read_all(again.image.get())), bytes_of(first_write(subject.layout)));
  } else {
    ASSERT_EQ(again.image->bitmaps().size(), 3u);
    EXPECT_FALSE(again.image->bitmaps()[1].in_use());
  }
  loop.run(again.image->close());
}

// Expects each mark to be flushed before anything else is written.
void expect_marks_come_first(const OpenImage& opened, const Subject& subject) {
  if (subject.has != Subject::Has::kBitmaps) return;
  bool is_marked = false;
  for (const faults::FaultEvent& event : opened.file->events()) {
    const bool is_mark = event.operation == faults::Operation::kWrite && event.length == 4;
    if (event.operation == faults::Operation::kFlush) break;
    if (event.operation == faults::Operation::kRead) continue;
    is_marked |= is_mark;
    EXPECT_TRUE(is_mark) << "a " << faults::operation_name(event.operation) << " of "
                         << event.length << " bytes before the marks are durable";
  }
  EXPECT_TRUE(is_marked);
}

// Makes a request while the n-th of all counted allocations fails; returns false if it failed.
bool make_request(Loop& loop, Image* image, const Request& request) {
  const std::vector<uint8_t> bytes = bytes_of(request);
  bool is_done = true;
  MemoryFaults::go_on();
  try {
    switch (request.kind) {
      case Request::Kind::kWrite:
        loop.run(image->write(request.offset, ConstBytes(bytes), WriteFlags::kNone));
        break;
      case Request::Kind::kCompressed:
        loop.run(image->write(request.offset, ConstBytes(bytes), WriteFlags::kCompressed));
        break;
      case Request::Kind::kZeroes:
        loop.run(image->write_zeroes(request.offset, request.length, WriteFlags::kNone));
        break;
      case Request::Kind::kUnmap:
        loop.run(image->write_zeroes(request.offset, request.length, WriteFlags::kMayUnmap));
        break;
      case Request::Kind::kDiscard:
        loop.run(image->discard(request.offset, request.length));
        break;
      case Request::Kind::kFlush:
        loop.run(image->flush());
        break;
    }
  } catch (const std::exception&) {
    is_done = false;
  }
  MemoryFaults::hold();
  return is_done;
}

// Returns how many requests failed.
uint64_t make_requests(Loop& loop, Image* image, const std::vector<Request>& script,
                       SectorModel* model) {
  uint64_t failures = 0;
  for (const Request& request : script) {
    const bool is_flush = request.kind == Request::Kind::kFlush;
    if (!is_flush) model->may_write(request);
    const bool is_done = make_request(loop, image, request);
    if (!is_done) ++failures;
    if (is_flush && is_done) model->flushed();
    if (is_flush) continue;
    if (is_done && request.kind != Request::Kind::kDiscard) {
      model->wrote(request);
    } else {
      model->outcome_unknown(request);
    }
  }
  return failures;
}

// Runs the script while the n-th allocation fails; returns how many requests failed, and in
// `*count` the number of allocations.
uint64_t run_script(const Subject& subject, const std::vector<Request>& script, uint64_t n,
                    uint64_t* count) {
  const Layout& layout = subject.layout;
  Loop loop;
  SectorModel model(layout);
  OpenImage opened = loop.run(open_disks(make_disks(subject), layout.backing_size, for_writing()));
  if (subject.has == Subject::Has::kSnapshot) {
    model.may_write(first_write(layout));
    model.flushed();
  }
  opened.file->clear_events();
  uint64_t failures = 0;
  // A separate thread has no frames of coroutines left over from other runs.
  std::thread([&] {
    MemoryFaults::begin_at(n);
    MemoryFaults::hold();
    failures = make_requests(loop, opened.image.get(), script, &model);
    *count = MemoryFaults::asked();
  }).join();
  expect_marks_come_first(opened, subject);
  expect_model_holds(opened.snapshot(), layout, model);
  try {
    loop.run(opened.image->close());
    model.flushed();
  } catch (const Error&) {
    // After a failed change of the header nothing more is written.
  }
  expect_model_holds(opened.snapshot(), layout, model);
  expect_the_rest_holds(opened, subject);
  return failures;
}

// Trying each allocation would take minutes: only those of the first request, which prepares the
// image for writing, and every so many of the others.
constexpr uint64_t kFirstTries = 60;
constexpr uint64_t kOtherTries = 120;

TEST(AllocationFaults, AnyOneFailedAllocationLeavesASoundImageWithAllThatWasAcknowledged) {
  uint64_t seed = 0;
  for (const Subject& subject : subjects()) {
    const std::vector<Request> script = make_script(subject.layout, ++seed, 40);
    uint64_t count = 0;
    run_script(subject, script, 0, &count);
    ASSERT_GT(count, 0u);
    const uint64_t step = std::max<uint64_t>(count / kOtherTries, 1);
    uint64_t failures = 0;
    uint64_t ignored = 0;
    for (uint64_t n = 1; n <= count; n += n < kFirstTries ? 1 : step) {
      SCOPED_TRACE(testing::Message() << subject.name << ", allocation " << n);
      failures += run_script(subject, script, n, &ignored);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(failures, 0u);
  }
}

// Shrinks a disk whose clusters are in no order while the n-th allocation fails; whether it failed.
bool shrink_with_fault(const Disks& disks, const std::vector<uint8_t>& kept, uint64_t n) {
  Loop loop;
  OpenImage opened = loop.run(open_disks(clone(disks), {}, for_writing()));
  bool has_failed = false;
  std::thread([&] {
    MemoryFaults::begin_at(n);
    try {
      loop.run(opened.image->resize(kept.size(), Preallocation::kOff));
    } catch (const std::exception&) {
      has_failed = true;
    }
    MemoryFaults::end();
  }).join();
  opened.parts->check();
  // What was queued to be freed is freed now. A header that may have been half-way changed is left
  // alone, and then nothing is written any more.
  bool is_refused = false;
  try {
    loop.run(opened.image->flush());
  } catch (const Error& error) {
    is_refused = true;
    EXPECT_EQ(error.kind(), ErrorKind::kNoMemory);
  }
  EXPECT_TRUE(has_failed || !is_refused);
  opened.parts->check();
  expect_sound(opened.snapshot(), has_failed);
  std::vector<uint8_t> bytes(kept.size());
  loop.run(opened.image->read(0, Bytes(bytes)));
  EXPECT_EQ(bytes, kept);
  if (is_refused) {
    EXPECT_THROW(loop.run(opened.image->close()), Error);
  } else {
    loop.run(opened.image->close());
  }
  expect_sound(opened.snapshot(), has_failed);
  return has_failed;
}

TEST(AllocationFaults, AShrinkThatFailsFreesNothingThatIsStillReferredTo) {
  constexpr uint64_t kCluster = 512;
  constexpr uint64_t kTable = kCluster * kCluster / 8;  // what one L2 table maps
  const Layout layout = layout_of(4 * kTable, kCluster);
  Loop loop;
  OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
  const std::vector<uint8_t> bytes = pattern(0, layout.create.size, 1);
  // Every other cluster first, so that those of a table make many ranges.
  for (const uint64_t first : {0, 1}) {
    for (uint64_t at = first * kCluster; at < bytes.size(); at += 2 * kCluster) {
      loop.run(opened.image->write(at, ConstBytes(bytes).subspan(at, kCluster)));
    }
  }
  loop.run(opened.image->close());
  const Disks disks = opened.snapshot();
  const std::vector<uint8_t> kept(bytes.begin(), bytes.begin() + kTable);
  uint64_t n = 1;
  while (shrink_with_fault(disks, kept, n) && !testing::Test::HasFailure()) ++n;
  EXPECT_GT(n, 10u);
}

// Discards clusters that stay allocated, and flushes while the n-th allocation fails; whether it
// failed.
bool flush_discards_with_fault(const Disks& disks, uint64_t n) {
  constexpr uint64_t kCluster = 4096;
  Loop loop;
  OpenOptions options = for_writing();
  options.discard_no_unref = true;
  OpenImage opened = loop.run(open_disks(clone(disks), {}, options));
  for (const uint64_t cluster : {1, 3, 4}) {
    loop.run(opened.image->discard(cluster * kCluster, kCluster));
  }
  bool has_failed = false;
  std::thread([&] {
    MemoryFaults::begin_at(n);
    try {
      loop.run(opened.image->flush());
    } catch (const std::exception&) {
    }
    has_failed = MemoryFaults::failed() != 0;
    MemoryFaults::end();
  }).join();
  opened.parts->check();
  loop.run(opened.image->flush());
  opened.parts->check();
  loop.run(opened.image->close());
  return has_failed;
}

TEST(AllocationFaults, ADiscardOfAClusterThatStaysAllocatedEndsHoweverItEnds) {
  const Layout layout = layout_of(64 * 1024, 4096);
  Loop loop;
  OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
  const std::vector<uint8_t> bytes = pattern(0, layout.create.size, 1);
  loop.run(opened.image->write(0, ConstBytes(bytes)));
  loop.run(opened.image->close());
  const Disks disks = opened.snapshot();
  uint64_t n = 1;
  while (flush_discards_with_fault(disks, n)) ++n;
  EXPECT_GT(n, 2u);
}

}  // namespace
}  // namespace byre::qcow2::test

#endif
