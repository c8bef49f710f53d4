// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "block/request_policy.h"
#include "byre/warning.h"

namespace byre::qcow2 {

// Sizes in bytes; nullopt: the default, which follows from the image (decision 0020). QEMU's
// options of the same names. Image::open() refuses bad combinations.
struct CacheOptions {
  std::optional<uint64_t> cache_size;  // of both together
  std::optional<uint64_t> l2_cache_size;
  std::optional<uint64_t> l2_cache_entry_size;
  std::optional<uint64_t> refcount_cache_size;
  // In seconds: slices unused for that long are evicted; 0: never.
  std::optional<uint64_t> clean_interval;
};

// The kinds of metadata that a write is checked against before it is performed, in QEMU's order.
enum class MetadataKind : uint8_t {
  kMainHeader,
  kActiveL1,
  kActiveL2,
  kRefcountTable,
  kRefcountBlock,
  kSnapshotTable,
  kInactiveL1,
  kInactiveL2,
  kBitmapDirectory,
};
constexpr size_t kMetadataKinds = 9;
// The names of the options "overlap-check.NAME", by MetadataKind.
constexpr std::array<const char*, kMetadataKinds> kOverlapCheckNames{
    "main-header",    "active-l1",   "active-l2",   "refcount-table",  "refcount-block",
    "snapshot-table", "inactive-l1", "inactive-l2", "bitmap-directory"};

// As the user gave them; Image::open() refuses invalid values.
struct OverlapCheckOptions {
  std::optional<std::string> check;           // "overlap-check": none, constant, cached, all
  std::optional<std::string> check_template;  // "overlap-check.template": the same
  std::array<std::optional<bool>, kMetadataKinds> kinds;  // "overlap-check.NAME", by MetadataKind
};

// Which freed host clusters are discarded in the file: the options "pass-discard-request",
// "pass-discard-snapshot", "pass-discard-other". The device below has the final decision (its own
// `discard`).
struct PassDiscard {
  std::optional<bool> request;   // freed by a discard; default: RequestPolicy::discard is kUnmap
  std::optional<bool> snapshot;  // freed with a snapshot; default: on
  std::optional<bool> other;     // freed otherwise; default: off
};

// How an image is opened. Where QEMU's qcow2 driver has an option, its name and default are used.
struct OpenOptions {
  // The name for filename() and messages; empty: the name of its file.
  std::string filename;
  bool writable = false;
  // For a checker: defects that matter only to the data (L1 contents, snapshot tables, the dirty
  // and corrupt bits) do not prevent opening.
  bool for_check = false;
  // Guest data will not be read (`info`): an encrypted image may be opened.
  bool metadata_only = false;
  // Effort of kCompressed writes, from 1 (fastest) to 9 (smallest).
  int compression_level = 0;  // 0: the default of the image's compression type
  // Called for what is wrong beside the request's error, if it has one. May be empty.
  OnWarning on_warning;

  RequestPolicy policy;  // `discard`, `detect-zeroes`
  PassDiscard pass_discard;
  // Discarded clusters keep their host clusters and become reserved zeroes; their bytes are
  // discarded in the file. Version 3 only.
  bool discard_no_unref = false;
  // nullopt: as the header's bit says.
  std::optional<bool> lazy_refcounts;
  CacheOptions cache;
  OverlapCheckOptions overlap_check;
};

}  // namespace byre::qcow2
