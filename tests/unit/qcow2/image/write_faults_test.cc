// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/image/fault_layouts.h"

namespace byre::qcow2::test {
namespace {

struct Outcome {
  bool any_failed = false;
  bool refused_later = false;
};

// Makes the requests of a script, whatever fails, and records what may be on disk.
Task<Outcome> run_script(Image* image, SectorModel* model, std::vector<Request> script) {
  Outcome outcome;
  for (const Request& request : script) {
    if (request.kind != Request::Kind::kFlush) model->may_write(request);
    bool failed = false;
    try {
      co_await apply(image, request);
    } catch (const Error&) {
      failed = true;
    }
    if (failed && outcome.any_failed) outcome.refused_later = true;
    outcome.any_failed |= failed;
    const bool is_flush = request.kind == Request::Kind::kFlush;
    if (is_flush && !failed) model->flushed();
    if (is_flush) continue;
    if (failed || request.kind == Request::Kind::kDiscard) {
      model->outcome_unknown(request);
    } else {
      model->wrote(request);
    }
  }
  co_return outcome;
}

// The number of requests of that kind that a script makes if nothing fails.
uint64_t count_requests(const Layout& layout, const std::vector<Request>& script,
                        faults::Operation operation) {
  Loop loop;
  SectorModel model(layout);
  OpenImage opened = loop.run(open_disks(make_disks(layout), layout.backing_size, for_writing()));
  loop.run(run_script(opened.image.get(), &model, script));
  const uint64_t count = opened.file->count(operation);
  loop.run(opened.image->close());
  return count;
}

void fail_each(faults::Operation operation, int errno_value, bool torn) {
  uint64_t seed = 0;
  for (const Layout& layout : layouts()) {
    ++seed;
    const std::vector<Request> script = make_script(layout, seed, 40);
    const uint64_t count = count_requests(layout, script, operation);
    ASSERT_GT(count, 0u);
    uint64_t failures = 0;
    for (uint64_t n = 1; n <= count; ++n) {
      SCOPED_TRACE(testing::Message() << "layout " << seed << ", request " << n);
      Loop loop;
      SectorModel model(layout);
      OpenImage opened =
          loop.run(open_disks(make_disks(layout), layout.backing_size, for_writing()));
      faults::FaultRule rule;
      rule.operation = operation;
      rule.first = n;
      rule.errno_value = errno_value;
      if (torn) rule.written = faults::Written::kHalf;
      opened.file->add_rule(rule);
      const Outcome outcome = loop.run(run_script(opened.image.get(), &model, script));
      failures += outcome.any_failed ? 1 : 0;
      // As a kill leaves it, and as a close leaves it.
      expect_model_holds(opened.snapshot(), layout, model);
      try {
        loop.run(opened.image->close());
      } catch (const Error&) {
      }
      expect_model_holds(opened.snapshot(), layout, model);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(failures, 0u);
  }
}

TEST(WriteFaults, AnyOneFailedWriteLeavesASoundImageWithAllThatWasFlushed) {
  fail_each(faults::Operation::kWrite, EIO, false);
}

TEST(WriteFaults, AnyOneTornWriteLeavesASoundImageWithAllThatWasFlushed) {
  fail_each(faults::Operation::kWrite, EIO, true);
}

TEST(WriteFaults, AnyOneFailedFlushLeavesASoundImageWithAllThatWasFlushed) {
  fail_each(faults::Operation::kFlush, EIO, false);
}

TEST(WriteFaults, AnyOneFailedReadLeavesASoundImageWithAllThatWasFlushed) {
  fail_each(faults::Operation::kRead, EIO, false);
}

// Repeats each request, as soon as there is space, until it succeeds.
Task<void> run_with_retries(OpenImage* opened, Model* model, std::vector<Request> script,
                            uint64_t* failures) {
  for (const Request& request : script) {
    for (bool is_done = false; !is_done;) {
      std::optional<Error> failure;
      try {
        co_await apply(opened->image.get(), request);
        is_done = true;
      } catch (const Error& error) {
        failure = error;
      }
      if (!failure) continue;
      ++*failures;
      EXPECT_EQ(failure->kind(), ErrorKind::kNoSpace) << failure->what() << failure->hint();
      if (failure->kind() != ErrorKind::kNoSpace) co_return;
      opened->file->heal();
    }
    if (request.kind == Request::Kind::kFlush || request.kind == Request::Kind::kDiscard) continue;
    model->put(request.offset, bytes_of(request));
  }
}

std::vector<Request> without_discards(std::vector<Request> script) {
  std::erase_if(script, [](const Request& r) { return r.kind == Request::Kind::kDiscard; });
  return script;
}

TEST(WriteFaults, AnImageOnADiskThatWasFullAtAnyMomentContinuesWhenThereIsSpace) {
  uint64_t seed = 20;
  for (const Layout& layout : layouts()) {
    ++seed;
    const std::vector<Request> script = without_discards(make_script(layout, seed, 50));
    const uint64_t count = count_requests(layout, script, faults::Operation::kWrite);
    uint64_t failures = 0;
    for (uint64_t n = 1; n <= count; ++n) {
      SCOPED_TRACE(testing::Message() << "layout " << seed << ", write " << n);
      Loop loop;
      Model model(layout);
      OpenImage opened =
          loop.run(open_disks(make_disks(layout), layout.backing_size, for_writing()));
      faults::FaultRule rule;
      rule.first = n;
      rule.count = UINT64_MAX;
      rule.errno_value = ENOSPC;
      opened.file->add_rule(rule);
      loop.run(run_with_retries(&opened, &model, script, &failures));
      opened.file->heal();
      loop.run(opened.image->close());
      const Disks disks = opened.snapshot();
      expect_sound(disks, true);
      const auto bytes = sync_wait(read_disks(clone(disks), layout.backing_size));
      EXPECT_EQ(first_difference(bytes, model.bytes()), std::nullopt);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(failures, count / 2);
  }
}

TEST(WriteFaults, AnImageRefusesWritesAfterAMetadataWriteFailedAndSaysWhy) {
  const Layout layout = layout_of(256 * 1024, 4096);
  Loop loop;
  OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
  Image* const image = opened.image.get();
  const std::vector<uint8_t> bytes = pattern(0, 4096, 1);
  loop.run(image->write(0, ConstBytes(bytes)));
  faults::FaultRule rule;
  rule.offset = 0;
  rule.length = 4 * 4096;  // header, refcounts, L1 table
  opened.file->add_rule(rule);
  EXPECT_THROW(loop.run(image->flush()), Error);
  opened.file->heal();
  try {
    loop.run(image->write(0, ConstBytes(bytes)));
    FAIL() << "the write was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), EIO);
    EXPECT_NE(error.hint().find("metadata could not be written"), std::string::npos);
  }
  EXPECT_THROW(loop.run(image->close()), Error);
}

// What a failed flush was for may never reach the disk, however many later flushes succeed.
TEST(WriteFaults, AnImageRefusesWritesAfterAnyFailedFlush) {
  const Layout layout = layout_of(2000 * 1024, 512);
  const uint64_t size_after = 2400 * 1024;  // its L1 table takes another cluster
  const std::vector<uint8_t> bytes = pattern(0, 4096, 1);
  uint64_t failures = 0;
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(testing::Message() << "flush " << n);
    Loop loop;
    OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
    Image* const image = opened.image.get();
    if (n > 1) loop.run(image->write(0, ConstBytes(bytes)));
    faults::FaultRule rule;
    rule.operation = faults::Operation::kFlush;
    rule.first = n > 1 ? n - 1 : 1;
    opened.file->add_rule(rule);
    bool has_failed = false;
    try {
      // In the first round, the flush of an image that was not written to.
      if (n == 1) loop.run(image->flush());
      if (n > 1) loop.run(image->resize(size_after, Preallocation::kOff));
    } catch (const Error&) {
      has_failed = true;
    }
    opened.file->heal();
    if (!has_failed) {
      loop.run(image->close());
      break;
    }
    ++failures;
    EXPECT_THROW(loop.run(image->write(0, ConstBytes(bytes))), Error);
    EXPECT_THROW(loop.run(image->flush()), Error);
    if (n > 1) EXPECT_THROW(loop.run(image->close()), Error);
    if (n == 1) loop.run(image->close());  // it had nothing to write
  }
  EXPECT_GT(failures, 5u);
}

Task<void> count_failure(Task<void> request, int* failures) {
  try {
    co_await std::move(request);
  } catch (const Error&) {
    ++*failures;
  }
}

// The host drops what the failed flush was for, and with it what the other one was for.
TEST(WriteFaults, AFlushFailsIfAnotherOneFailedMeanwhile) {
  const Layout layout = layout_of(64 * 1024, 4096);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Loop loop;
    OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
    opened.file->set_delays(seed, 9);
    opened.file->add_rule({.operation = faults::Operation::kFlush});
    int failures = 0;
    std::vector<Task<void>> flushes;
    flushes.push_back(count_failure(opened.image->flush(), &failures));
    flushes.push_back(count_failure(opened.image->flush(), &failures));
    loop.run(when_all(std::move(flushes)));
    EXPECT_EQ(failures, 2) << "seed " << seed;
    loop.run(opened.image->close());
  }
}

// The write of the entry fails, and the cluster of the new block must not be reallocated while the
// entry on disk may name it.
TEST(WriteFaults, AnEntryOfTheRefcountTableThatCouldNotBeWrittenMayBeOnDisk) {
  constexpr uint64_t kLength = 40 * 1024;  // more than a refcount block counts
  Layout layout = layout_of(20 * kLength, 512);
  layout.create.refcount_bits = 64;
  const std::vector<uint8_t> bytes = pattern(0, layout.create.size, 1);
  uint64_t failures = 0;
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(testing::Message() << "entry " << n);
    Loop loop;
    OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
    const uint64_t table = opened.image->header().refcount_table_offset.value();
    // Twice: after one failure the request is retried.
    opened.file->add_rule({.first = n,
                           .count = 2,
                           .errno_value = ENOSPC,
                           .offset = table,
                           .length = 512,
                           .written = faults::Written::kAll});
    bool has_failed = false;
    for (uint64_t offset = 0; offset < bytes.size();) {
      try {
        loop.run(opened.image->write(offset, ConstBytes(bytes).subspan(offset, kLength)));
        offset += kLength;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
        has_failed = true;
        loop.run(opened.image->flush());
      }
      expect_sound(opened.snapshot(), true);
      if (testing::Test::HasFailure()) return;
    }
    loop.run(opened.image->close());
    expect_sound(opened.snapshot(), false);
    EXPECT_EQ(sync_wait(read_disks(opened.snapshot(), {})), bytes);
    if (!has_failed) break;
    ++failures;
  }
  EXPECT_GT(failures, 5u);
}

// A write-back begun by another request stops: what it depends on may have been lost by the failed
// flush, although its own flush succeeds.
TEST(WriteFaults, NoTableIsWrittenOnceAFlushHasFailed) {
  const Layout layout = layout_of(256 * 1024, 4096);
  Loop loop;
  OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
  Image* const image = opened.image.get();
  const std::vector<uint8_t> bytes = pattern(0, 4096, 1);
  loop.run(image->write(0, ConstBytes(bytes)));
  const uint64_t writes = opened.file->count(faults::Operation::kWrite);
  opened.parts->context.health.note_failure(Error::from_errno(EIO, "a flush failed"),
                                            Health::Operation::kFlush);
  EXPECT_THROW(loop.run(opened.parts->tables.l2_cache.write_back()), Error);
  EXPECT_THROW(loop.run(opened.parts->tables.refcount_cache.write_back()), Error);
  EXPECT_EQ(opened.file->count(faults::Operation::kWrite), writes);
  EXPECT_TRUE(opened.parts->tables.l2_cache.has_dirty());
  EXPECT_THROW(loop.run(image->close()), Error);
}

TEST(WriteFaults, AFailedWriteOfGuestDataAffectsOnlyItsRequest) {
  const Layout layout = layout_of(256 * 1024, 4096);
  Loop loop;
  OpenImage opened = loop.run(open_disks(make_disks(layout), {}, for_writing()));
  Image* const image = opened.image.get();
  const std::vector<uint8_t> bytes = pattern(0, 4096, 1);
  loop.run(image->write(0, ConstBytes(bytes)));
  opened.file->add_rule({});
  EXPECT_THROW(loop.run(image->write(4096, ConstBytes(bytes))), Error);
  loop.run(image->write(8192, ConstBytes(bytes)));
  loop.run(image->close());
  expect_sound(opened.snapshot(), false);
}

}  // namespace
}  // namespace byre::qcow2::test
