// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/convert.h"
#include "jobs/progress.h"
#include "open/open.h"

namespace byre::jobs {

// A conversion from images that are named to an image that is named: `convert` as a whole.
struct ConvertJob {
  // The images to concatenate: names, as for open::open_image(), or lists of options.
  std::vector<std::string> sources;
  bool sources_are_options = false;
  std::optional<std::string> source_format;  // nothing: probed
  std::string source_cache = "writeback";    // QEMU's name of a cache mode
  std::optional<open::SnapshotSelector> snapshot;
  // All snapshots of the source are copied as well, with their VM state: of one qcow2 image to a new
  // one.
  bool with_snapshots = false;
  bool reads_pipes = false;  // "-" is the standard input

  // The new image, or the one to overwrite: a name, or a list of options for an existing image.
  std::string target;
  bool target_is_options = false;
  std::optional<std::string> target_format;  // nothing: raw, or as the list of options has it
  std::string target_cache = "unsafe";
  bool create = true;  // false: the target exists
  // Where the new image is sent to instead of to a file; the descriptor stays open.
  std::optional<int> target_pipe;
  // For a new image: names and values of options of its format and file.
  std::vector<std::pair<std::string, std::string>> target_options;
  std::optional<std::string> backing_filename;  // of an existing target: it has a backing file
  std::optional<std::string> backing_format;
  bool target_is_zero = false;  // an existing target reads as zeroes, as the caller knows
  int compression_level = 0;

  // Images that other processes have open are opened even so; no locks are taken.
  bool force_share = false;
  // The same sources and options may give different bytes.
  bool writes_in_any_order = false;
  // The copy itself: `sparse_size`, `in_flight`, `copy_range`, `compressed`, `salvage` with its
  // functions, and `bytes_per_second`. The job determines the others.
  ConvertOptions copy;

  // Sentences about options, and about properties that the new file could not be given.
  std::function<void(const std::string&)> on_warning;
  // See open::ImageOptions::on_warning.
  OnWarning on_open_warning;
  // These outlive the job, and may be nullptr.
  Progress* progress = nullptr;
  const Cancellation* cancellation = nullptr;
};

// Opens the sources, creates the target or opens it, copies, and closes everything. The order of
// the steps is QEMU's, so that of two mistakes the same one is reported.
// If only the topmost layers of source and target are to be equal (`backing_filename`, or the
// option backing_file), their backing files must have the same contents. A file that a source is read
// from is refused as the target. If the conversion fails, the files that it created are removed: an
// incomplete image that looks complete is useless. An existing file loses its contents, unless it
// is clear beforehand that the new image cannot be created.
Task<void> convert_images(ConvertJob job);

}  // namespace byre::jobs
