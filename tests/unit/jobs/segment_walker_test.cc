// SPDX-License-Identifier: Apache-2.0
#include "jobs/segment_walker.h"

#include <gtest/gtest.h>

#include <ostream>

#include "async/loop.h"
#include "byre/error.h"
#include "testing/fault_device.h"
#include "unit/jobs/scripted_device.h"

namespace byre::jobs {

std::ostream& operator<<(std::ostream& out, const Segment& segment) {
  return out << "[" << segment.offset << "+" << segment.length << " "
             << static_cast<int>(segment.kind) << "]";
}

namespace {

using test::absent_extent;
using test::data_extent;
using test::ScriptedDevice;
using test::zero_extent;
using Segments = std::vector<Segment>;
constexpr auto kData = Segment::Kind::kData;
constexpr auto kZero = Segment::Kind::kZero;
constexpr auto kBacking = Segment::Kind::kBacking;

Segments walk(BlockDevice& device, SegmentWalker::Rules rules) {
  const SourceSequence source({&device});
  SegmentWalker walker(source, rules);
  Segments segments;
  while (const auto segment = sync_wait(walker.next())) segments.push_back(*segment);
  uint64_t at = 0;
  for (const Segment& segment : segments) {
    EXPECT_EQ(segment.offset, at);
    at += segment.length;
  }
  EXPECT_EQ(at, source.size());
  return segments;
}

TEST(SegmentWalker, AnEmptySourceHasNoSegments) {
  ScriptedDevice device(0);
  EXPECT_TRUE(walk(device, {.data_length_max = 1 << 20}).empty());
}

TEST(SegmentWalker, NeighboursOfOneKindAreOneSegmentAlsoAcrossAnswers) {
  ScriptedDevice device(65536);
  device.scripted_extents = {data_extent(0, 4096), data_extent(4096, 4096), zero_extent(8192, 8192),
                             absent_extent(16384, 16384), data_extent(32768, 32768)};
  for (const size_t extents_max : {size_t{1}, size_t{2}, SIZE_MAX}) {
    device.extents_max = extents_max;
    EXPECT_EQ(walk(device, {.data_length_max = 1 << 20}),
              (Segments{{0, 8192, kData}, {8192, 24576, kZero}, {32768, 32768, kData}}));
  }
}

TEST(SegmentWalker, DataEndsAtMultiplesOfTheBufferAndZeroesDoNot) {
  ScriptedDevice device(40960);
  device.scripted_extents = {data_extent(0, 4096), zero_extent(4096, 20480),
                             data_extent(24576, 16384)};
  EXPECT_EQ(
      walk(device, {.data_length_max = 16384}),
      (Segments{
          {0, 4096, kData}, {4096, 20480, kZero}, {24576, 8192, kData}, {32768, 8192, kData}}));
}

TEST(SegmentWalker, ForCompressionEverySegmentIsWholeClusters) {
  ScriptedDevice device(65536 + 512);
  device.scripted_extents = {zero_extent(0, 12288), data_extent(12288, 4096),
                             zero_extent(16384, 32768), data_extent(49152, 512),
                             zero_extent(49664, 65536 + 512 - 49664)};
  const SegmentWalker::Rules rules{.data_length_max = 32768, .cluster_size = 8192};
  EXPECT_EQ(walk(device, rules), (Segments{{0, 8192, kZero},
                                           {8192, 8192, kData},
                                           {16384, 32768, kZero},
                                           {49152, 8192, kData},
                                           {57344, 8704, kZero}}));
}

TEST(SegmentWalker, ForCompressionARunOfDataClustersEndsAtTheBuffer) {
  ScriptedDevice device(65536);
  device.scripted_extents = {data_extent(0, 65536)};
  const SegmentWalker::Rules rules{.data_length_max = 32768, .cluster_size = 4096};
  EXPECT_EQ(walk(device, rules), (Segments{{0, 32768, kData}, {32768, 32768, kData}}));
}

TEST(SegmentWalker, WithABackingFileOnlyTheUppermostLayerIsAsked) {
  ScriptedDevice device(65536);
  device.scripted_extents = {absent_extent(0, 16384), zero_extent(16384, 16384),
                             data_extent(32768, 32768)};
  const SegmentWalker::Rules rules{
      .data_length_max = 1 << 20, .top_layer_only = true, .backing_size = 65536};
  EXPECT_EQ(walk(device, rules),
            (Segments{{0, 16384, kBacking}, {16384, 16384, kZero}, {32768, 32768, kData}}));
  for (const ExtentScope scope : device.scopes) EXPECT_EQ(scope, ExtentScope::kLayer);
}

TEST(SegmentWalker, WhatASourceWithoutABackingFileDoesNotHaveIsZeroForTheTargetsBackingFile) {
  ScriptedDevice device(65536);
  device.scripted_extents = {absent_extent(0, 32768), data_extent(32768, 32768)};
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20, .backing_size = 16384}),
            (Segments{{0, 16384, kZero}, {16384, 16384, kBacking}, {32768, 32768, kData}}));
}

TEST(SegmentWalker, WhatLiesBehindTheSourcesBackingFileIsZero) {
  ScriptedDevice device(65536);
  device.scripted_extents = {absent_extent(0, 65536)};
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20,
                          .top_layer_only = true,
                          .source_backing_size = 20480,
                          .backing_size = 40960}),
            (Segments{{0, 20480, kBacking}, {20480, 20480, kZero}, {40960, 24576, kBacking}}));
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20,
                          .top_layer_only = true,
                          .source_backing_size = 40960,
                          .backing_size = 20480}),
            (Segments{{0, 65536, kBacking}}));
}

TEST(SegmentWalker, ZeroesBehindTheBackingFilesEndNeedNothing) {
  ScriptedDevice device(65536);
  device.scripted_extents = {data_extent(0, 8192), zero_extent(8192, 57344)};
  const SegmentWalker::Rules rules{
      .data_length_max = 1 << 20, .top_layer_only = true, .backing_size = 20480};
  EXPECT_EQ(walk(device, rules),
            (Segments{{0, 8192, kData}, {8192, 12288, kZero}, {20480, 45056, kBacking}}));
}

TEST(SegmentWalker, WithoutSparsenessZeroesAreData) {
  ScriptedDevice device(65536);
  device.scripted_extents = {zero_extent(0, 32768), absent_extent(32768, 32768)};
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20, .zero_is_data = true}),
            (Segments{{0, 65536, kData}}));
}

TEST(SegmentWalker, WithoutSparsenessZeroesBehindTheBackingFilesEndStillNeedNothing) {
  ScriptedDevice device(65536);
  device.scripted_extents = {zero_extent(0, 32768), absent_extent(32768, 32768)};
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20, .backing_size = 16384, .zero_is_data = true}),
            (Segments{{0, 16384, kData}, {16384, 49152, kBacking}}));
}

TEST(SegmentWalker, AStateThatCannotBeReadIsDataWhenSalvaging) {
  auto scripted = std::make_unique<ScriptedDevice>(131072);
  scripted->scripted_extents = {zero_extent(0, 131072)};
  faults::FaultDevice device(std::move(scripted));
  device.add_rule({.operation = faults::Operation::kExtents,
                   .count = UINT64_MAX,
                   .offset = 70000,
                   .length = 1000});
  std::vector<uint64_t> unknown;
  const auto note = [&unknown](uint64_t offset, const Error&) { unknown.push_back(offset); };
  EXPECT_EQ(walk(device, {.data_length_max = 1 << 20, .salvage = true, .on_unknown = note}),
            (Segments{{0, 69632, kZero}, {69632, 1536, kData}, {71168, 59904, kZero}}));
  EXPECT_EQ(unknown, (std::vector<uint64_t>{69632, 70144, 70656}));
  device.heal();
  device.add_rule({.operation = faults::Operation::kExtents, .first = 1, .count = 1});
  const SourceSequence source({&device});
  SegmentWalker walker(source, {.data_length_max = 1 << 20});
  EXPECT_THROW(sync_wait(walker.next()), Error);
}

}  // namespace
}  // namespace byre::jobs
