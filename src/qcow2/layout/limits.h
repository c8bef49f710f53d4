// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/units.h"

// Every limit of qcow2 in one table. "format": the specification says so, and nothing beyond it can
// be encoded. "QEMU": the format would allow more, but QEMU refuses it; byre refuses the same, so
// that both open the same images and memory is bounded.
namespace byre::qcow2::layout::limits {

// Header.
inline constexpr uint32_t kClusterBitsMin = 9;             // format
inline constexpr uint32_t kClusterBitsMax = 21;            // QEMU: 2 MiB
inline constexpr uint32_t kClusterBitsMinExtendedL2 = 14;  // format: 32 subclusters of 512
inline constexpr uint64_t kClusterSizeMin = uint64_t{1} << kClusterBitsMin;
inline constexpr uint64_t kClusterSizeMax = uint64_t{1} << kClusterBitsMax;
inline constexpr uint32_t kRefcountOrderMax = 6;     // format: 64 bits
inline constexpr uint32_t kHeaderSizeV2 = 72;        // format
inline constexpr uint32_t kHeaderSizeV3Min = 104;    // format
inline constexpr uint32_t kHeaderSizeWritten = 112;  // as QEMU 5.1 and later writes it
// QEMU: the feature name table would fill most of a smaller header cluster.
inline constexpr uint64_t kFeatureNamesClusterSizeMin = 8192;
inline constexpr uint32_t kBackingFileNameSizeMax = 1023;          // format
inline constexpr uint64_t kFileSizeMax = (uint64_t{1} << 63) - 1;  // the range of off_t
// QEMU: the largest device, in whole GiB. A read past it fails.
inline constexpr uint64_t kDeviceSizeMax = kFileSizeMax / kGiB * kGiB;

// Offsets. Bits 9-55 of an entry are the offset: L1, L2 and bitmap tables cannot refer to anything
// at or above 2^56. Refcount table entries have bits 9-63.
inline constexpr uint32_t kHostOffsetBits = 56;  // format: 64 PiB
inline constexpr uint64_t kHostOffsetEnd = uint64_t{1} << kHostOffsetBits;

// Tables.
inline constexpr uint64_t kL1TableSizeMax = 32 * kMiB;  // QEMU, in bytes
inline constexpr uint64_t kL1EntriesMax = kL1TableSizeMax / 8;
inline constexpr uint64_t kRefcountTableSizeMax = 8 * kMiB;  // QEMU, in bytes
inline constexpr uint64_t kRefcountTableEntriesMax = kRefcountTableSizeMax / 8;

// Header extensions.
inline constexpr uint32_t kBackingFormatSizeMax = 15;  // QEMU, in bytes
inline constexpr uint32_t kFeatureNameSizeMax = 46;    // format, in bytes
inline constexpr uint32_t kFeatureNameEntrySize = 48;  // format

// Snapshots.
inline constexpr uint32_t kSnapshotsMax = 65536;                                   // QEMU
inline constexpr uint64_t kSnapshotTableSizeMax = 1024 * uint64_t{kSnapshotsMax};  // QEMU, in bytes
inline constexpr uint32_t kSnapshotExtraDataSizeMax = 1024;                        // QEMU, in bytes
inline constexpr uint64_t kSnapshotL1EntriesMax = kL1EntriesMax;                   // QEMU
inline constexpr uint32_t kSnapshotIdSizeMax = 65535;    // format: 16 bits
inline constexpr uint32_t kSnapshotNameSizeMax = 65535;  // format: 16 bits

// Bitmaps.
inline constexpr uint32_t kBitmapsMax = 65535;             // QEMU
inline constexpr uint32_t kBitmapNameSizeMax = 1023;       // QEMU, in bytes
inline constexpr uint32_t kBitmapGranularityBitsMin = 9;   // QEMU; format: 0
inline constexpr uint32_t kBitmapGranularityBitsMax = 31;  // QEMU; format: 63
inline constexpr uint64_t kBitmapDirectorySizeMax = uint64_t{kBitmapsMax} * 1024;  // QEMU
inline constexpr uint64_t kBitmapTableEntriesMax = 0x8000000;                      // QEMU
inline constexpr uint64_t kBitmapSizeMax = uint64_t{0x20000000};  // QEMU: bytes of one bitmap

// Extended L2 entries.
inline constexpr uint32_t kSubclustersPerCluster = 32;  // format

}  // namespace byre::qcow2::layout::limits
