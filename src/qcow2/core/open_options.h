// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "block/request_policy.h"

namespace byre::qcow2 {

// Sizes in bytes; nothing: the default, which follows from the image (decision 0020). QEMU's
// options of the same names. Bad combinations are refused by Image::open() in QEMU's words.
struct CacheOptions {
  std::optional<uint64_t> cache_size;  // of both together
  std::optional<uint64_t> l2_cache_size;
  std::optional<uint64_t> l2_cache_entry_size;
  std::optional<uint64_t> refcount_cache_size;
  // Seconds: what nobody used for so long leaves memory; 0: never.
  std::optional<uint64_t> clean_interval;
};

// The kinds of metadata that a write is held against before it is done, in the order in which QEMU
// looks.
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

// As the user gave them; Image::open() refuses what makes no sense in QEMU's words.
struct OverlapCheckOptions {
  std::optional<std::string> check;           // "overlap-check": none, constant, cached, all
  std::optional<std::string> check_template;  // "overlap-check.template": the same
  std::array<std::optional<bool>, kMetadataKinds> kinds;  // "overlap-check.NAME", by MetadataKind
};

// Which host clusters that became free are discarded in the file: the options
// "pass-discard-request", "pass-discard-snapshot", "pass-discard-other". The device below has the
// last word (its own `discard`).
struct PassDiscard {
  std::optional<bool> request;   // freed by a discard; default: RequestPolicy::discard is kUnmap
  std::optional<bool> snapshot;  // freed with a snapshot; default: on
  std::optional<bool> other;     // freed otherwise; default: off
};

// How an image is opened. Names and defaults of options are those of QEMU's qcow2 driver, where it
// has them.
struct OpenOptions {
  // What filename() and messages call the image; empty: as its file is called.
  std::string filename;
  bool writable = false;
  // For a checker: what only the data needs (L1 contents, snapshots' tables, the dirty and corrupt
  // bits) does not refuse the image.
  bool for_check = false;
  // Guest data will not be asked for (`info`): an encrypted image may be opened.
  bool metadata_only = false;
  // Effort of kCompressed writes, on the scale of codec::Level.
  int compression_level = 0;  // 0: the default of the image's compression type
  // Takes what QEMU's programs print on standard error beside the error of the request, with its
  // line ends: "qcow2: Image is corrupt: ...\n"; a text that begins with "warning: " comes behind
  // the program's name. May be empty.
  std::function<void(const std::string&)> on_warning;

  RequestPolicy policy;  // `discard`, `detect-zeroes`
  PassDiscard pass_discard;
  // Discarded clusters stay where they are, as reserved zeroes; their bytes are discarded in the
  // file. Version 3.
  bool discard_no_unref = false;
  // Nothing: as the header's bit says.
  std::optional<bool> lazy_refcounts;
  CacheOptions cache;
  OverlapCheckOptions overlap_check;
};

}  // namespace byre::qcow2
