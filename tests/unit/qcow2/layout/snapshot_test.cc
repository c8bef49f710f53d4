// SPDX-License-Identifier: Apache-2.0
// What is refused is what qemu-img 10.0.2 refuses, in its order.
#include "qcow2/layout/snapshot.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

constexpr uint64_t kTableOffset = 0x70000;

Header header_with(uint32_t count, uint64_t offset = kTableOffset) {
  Header header = sample_header();
  header.snapshot_count = count;
  header.snapshots_offset = HostOffset(offset);
  return header;
}

// Decodes a table from a file that has `table` at kTableOffset, followed by zeroes.
std::vector<Snapshot> decode(const std::vector<uint8_t>& table, uint32_t count) {
  SnapshotTableDecoder decoder(header_with(count));
  while (!decoder.done()) {
    const uint64_t from = decoder.offset() - HostOffset(kTableOffset);
    std::vector<uint8_t> bytes(decoder.wanted());
    if (from < table.size()) {
      const size_t there = std::min<size_t>(bytes.size(), table.size() - from);
      std::copy_n(table.begin() + from, there, bytes.begin());
    }
    decoder.feed(bytes);
  }
  EXPECT_EQ(decoder.table_size() % 8, 0u);
  return decoder.take();
}

Refusal decode_refusal(const std::vector<uint8_t>& table, uint32_t count) {
  return refusal([&] { decode(table, count); });
}

Snapshot sample(std::string id = "1", std::string name = "first") {
  Snapshot snapshot;
  snapshot.l1_table_offset = HostOffset(0x40000);
  snapshot.l1_size = 1;
  snapshot.id = std::move(id);
  snapshot.name = std::move(name);
  snapshot.date_sec = 1700000000;
  snapshot.date_nsec = 123456789;
  snapshot.vm_clock_nsec = 42;
  snapshot.vm_state_size = uint64_t{5} << 32;
  snapshot.disk_size = 1 << 20;
  snapshot.icount = 7;
  return snapshot;
}

TEST(Snapshot, QemusTablesOfBothVersionsComeBackByteForByte) {
  for (const char* hex : {golden::kSnapshotTable3, golden::kSnapshotTable2}) {
    const auto table = golden::from_hex(hex);
    const auto snapshots = decode(table, 2);
    ASSERT_EQ(snapshots.size(), 2u);
    EXPECT_EQ(snapshots[0].id, "1");
    EXPECT_EQ(snapshots[0].name, "first");
    EXPECT_EQ(snapshots[0].l1_table_offset, HostOffset(0x40000));
    EXPECT_EQ(snapshots[0].l1_size, 1u);
    EXPECT_EQ(snapshots[0].disk_size, 1u << 20);
    EXPECT_EQ(snapshots[0].vm_state_size, 0u);
    EXPECT_EQ(snapshots[0].icount, 0u);
    EXPECT_EQ(snapshots[1].name, "second");
    auto expected = table;
    expected.resize(align_up(table.size(), 8));
    EXPECT_EQ(encode_snapshot_table(snapshots), expected);
  }
}

TEST(Snapshot, EveryFieldComesBack) {
  const Snapshot snapshot = sample("an id", std::string(1000, 'n'));
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
  EXPECT_EQ(snapshot.encode().size(), snapshot.encoded_size());
  EXPECT_EQ(snapshot.encoded_size() % 8, 0u);
}

TEST(Snapshot, IdAndNameEndAtAZeroByte) {
  const auto table = encode_snapshot_table(
      {sample(std::string("1\0x", 3), std::string("\0name", 5)), sample("2", "next")});
  const std::vector<Snapshot> snapshots = decode(table, 2);
  EXPECT_EQ(snapshots.at(0).id, "1");
  EXPECT_EQ(snapshots.at(0).name, "");
  // The size of the entry follows from its fields.
  EXPECT_EQ(snapshots.at(1).id, "2");
  EXPECT_EQ(snapshots.at(1).name, "next");
}

TEST(Snapshot, EntriesWithLessExtraDataHaveFewerFields) {
  Snapshot snapshot = sample();
  snapshot.icount.reset();
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
  snapshot.disk_size.reset();
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
  EXPECT_EQ(snapshot.disk_size_or(77), 77u);
  snapshot.has_large_vm_state_size = false;
  snapshot.vm_state_size = 0xffffffff;
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
  EXPECT_EQ(sample().disk_size_or(77), 1u << 20);
}

// "If this field is present, the 32-bit value in bytes 32-35 is ignored."
TEST(Snapshot, The64BitVmStateSizeTakesPrecedenceOverThe32BitOne) {
  auto bytes = sample().encode();
  store_big_endian<uint32_t>(bytes.data() + 32, 99);
  EXPECT_EQ(decode(bytes, 1).at(0).vm_state_size, uint64_t{5} << 32);
}

TEST(Snapshot, UnknownExtraDataIsKeptEvenInsideAField) {
  Snapshot snapshot = sample();
  snapshot.unknown_extra_data = {1, 2, 3};
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
  snapshot.icount.reset();
  snapshot.unknown_extra_data = {1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(decode(snapshot.encode(), 1).at(0), snapshot);
}

TEST(Snapshot, ExtraDataHasAtMost1024Bytes) {
  auto table = sample().encode();
  const auto second = sample("2").encode();
  table.insert(table.end(), second.begin(), second.end());
  const size_t at = sample().encoded_size() + 36;
  store_big_endian<uint32_t>(table.data() + at, 1024);
  EXPECT_EQ(decode_refusal(table, 2), "");
  for (const uint32_t size : {1025u, 0xffffffffu}) {
    store_big_endian<uint32_t>(table.data() + at, size);
    EXPECT_EQ(decode_refusal(table, 2), "qcow2-snapshot-extra-data-too-large");
    EXPECT_EQ(decode_refusal(table, 2).data.index, 1);
    EXPECT_EQ(decode_refusal(table, 2).data.value, size);
  }
}

TEST(Snapshot, EntriesLargerThanOneReadAreFetchedWhole) {
  std::vector<Snapshot> snapshots;
  for (int i = 0; i < 5; ++i) {
    snapshots.push_back(sample(std::string(65535, 'i'), std::string(65535 - i, 'n')));
    snapshots.back().unknown_extra_data.resize(1000);
    snapshots.push_back(sample(std::to_string(i), ""));
  }
  EXPECT_EQ(decode(encode_snapshot_table(snapshots), 10), snapshots);
}

TEST(Snapshot, ATablePastTheEndOfTheFileHasEmptyEntries) {
  const auto snapshots = decode({}, 65536);
  EXPECT_EQ(snapshots.size(), 65536u);
  EXPECT_EQ(snapshots.back().l1_size, 0u);
}

TEST(Snapshot, ATableHasAtMost64MiB) {
  std::vector<uint8_t> table;
  const auto entry = sample("1", std::string(65000, 'n')).encode();
  for (int i = 0; i < 1040; ++i) table.insert(table.end(), entry.begin(), entry.end());
  EXPECT_EQ(decode_refusal(table, 1031), "");
  EXPECT_EQ(decode_refusal(table, 1040), "qcow2-snapshot-table-too-large");
  const std::vector<Snapshot> many(1040, sample("1", std::string(65000, 'n')));
  EXPECT_EQ(refusal([&] { encode_snapshot_table(many); }), "qcow2-snapshots-too-large");
  EXPECT_EQ(refusal([] { encode_snapshot_table(std::vector<Snapshot>(65537)); }),
            "qcow2-snapshots-too-large");
}

TEST(Snapshot, ATablePastTheLargestDeviceIsRefused) {
  const auto open = [](uint32_t count, uint64_t offset) {
    return refusal([&] { SnapshotTableDecoder(header_with(count, offset)); });
  };
  EXPECT_EQ(open(65537, 0), "qcow2-snapshots-too-many");
  EXPECT_EQ(open(1, 1), "qcow2-snapshot-table-offset-invalid");
  EXPECT_EQ(open(1, 0x7fffffffffff0000), "qcow2-snapshot-table-past-end");
  EXPECT_EQ(open(0, 0x7fffffffffff0000), "");
  // The table starts at a valid offset and continues past the limit.
  SnapshotTableDecoder decoder(header_with(2, limits::kDeviceSizeMax - 0x10000));
  const auto entry = sample().encode();
  EXPECT_EQ(refusal([&] { decoder.feed(entry); }), "qcow2-snapshot-table-past-end");
}

TEST(Snapshot, ABadL1TableIsReportedWhenTheSnapshotIsRead) {
  const Geometry geometry = sample_geometry(16);
  const auto with = [&](uint64_t offset, uint32_t size) {
    Snapshot snapshot = sample();
    snapshot.l1_table_offset = HostOffset(offset);
    snapshot.l1_size = size;
    return refusal([&] { snapshot.validate_l1(geometry); });
  };
  EXPECT_EQ(with(0x40000, 0x400000), "");
  EXPECT_EQ(with(0x40000, 0x400001), "qcow2-snapshot-l1-table-too-large");
  EXPECT_EQ(with(0x40000, 0xffffffff), "qcow2-snapshot-l1-table-too-large");
  EXPECT_EQ(with(0x40200, 1), "qcow2-snapshot-l1-table-offset-invalid");
  EXPECT_EQ(with(uint64_t{1} << 63, 1), "qcow2-snapshot-l1-table-offset-invalid");
  EXPECT_EQ(with(0x7fffffffffff0000, 1), "qcow2-snapshot-l1-table-past-end");
}

TEST(Snapshot, FieldsThatCannotBeInAnEntryAreBugs) {
  Snapshot snapshot = sample();
  snapshot.disk_size.reset();
  EXPECT_DEATH(snapshot.encode(), "");
  snapshot = sample();
  snapshot.has_large_vm_state_size = false;
  EXPECT_DEATH(snapshot.encode(), "");
  snapshot = sample(std::string(65536, 'i'));
  EXPECT_DEATH(snapshot.encode(), "");
}

}  // namespace
}  // namespace byre::qcow2::layout
