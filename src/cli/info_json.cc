// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include "base/units.h"

namespace byre::cli {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

JsonText bitmap_json(const jobs::BitmapInfo& bitmap) {
  JsonText flags = JsonText::array();
  if (bitmap.in_use) flags.add("in-use");
  if (bitmap.is_auto) flags.add("auto");
  JsonText json = JsonText::object();
  json.set("name", bitmap.name).set("granularity", bitmap.granularity).set("flags", flags);
  return json;
}

JsonText luks_json(const codec::LuksHeader& luks) {
  JsonText slots = JsonText::array();
  for (const codec::LuksHeader::KeySlot& slot : luks.key_slots) {
    JsonText json = JsonText::object();
    json.set("active", slot.is_active).set("key-offset", slot.key_offset);
    if (slot.is_active) json.set("iters", slot.iterations).set("stripes", slot.stripes);
    slots.add(json);
  }
  JsonText json = JsonText::object();
  json.set("format", "luks")
      .set("detached-header", false)
      .set("cipher-alg", luks.cipher + "-" + std::to_string(luks.key_bits))
      .set("cipher-mode", luks.cipher_mode)
      .set("ivgen-alg", luks.iv_generator)
      .set("hash-alg", luks.hash)
      .set("payload-offset", luks.payload_offset)
      .set("master-key-iters", luks.master_key_iterations)
      .set("uuid", luks.uuid)
      .set("slots", slots);
  if (!luks.iv_hash.empty()) json.set("ivgen-hash-alg", luks.iv_hash);
  return json;
}

JsonText encryption_json(const jobs::Qcow2Info& qcow2) {
  if (qcow2.luks.has_value()) return luks_json(*qcow2.luks);
  const bool is_aes = qcow2.encryption == jobs::Encryption::kAes;
  JsonText json = JsonText::object();
  json.set("format", is_aes ? "aes" : "luks");
  return json;
}

bool is_encrypted(const jobs::Qcow2Info& qcow2) {
  return qcow2.encryption != jobs::Encryption::kNone;
}

void add_qcow2(JsonText& json, const jobs::Qcow2Info& qcow2) {
  JsonText specific = JsonText::object();
  specific.set("type", "qcow2").set("data", qcow2_details(qcow2));
  json.set("format-specific", specific);
  if (is_encrypted(qcow2)) json.set("encrypted", true);
  if (!qcow2.backing_filename.empty()) {
    json.set("backing-filename", qcow2.backing_filename)
        .set("full-backing-filename", qcow2.backing_path);
    if (!qcow2.backing_format.empty()) json.set("backing-filename-format", qcow2.backing_format);
  }
  if (qcow2.snapshots.empty()) return;
  JsonText snapshots = JsonText::array();
  for (const auto& snapshot : qcow2.snapshots) snapshots.add(snapshot_json(snapshot));
  json.set("snapshots", snapshots);
}

// A file of the host, which has details of its own.
bool is_file(const jobs::ImageInfo& info) {
  return info.format == "file" || info.format == "host_device";
}

}  // namespace

JsonText snapshot_json(const jobs::SnapshotInfo& snapshot) {
  JsonText json = JsonText::object();
  json.set("id", snapshot.id)
      .set("name", snapshot.name)
      .set("vm-state-size", snapshot.vm_state_size)
      .set("date-sec", snapshot.date_sec)
      .set("date-nsec", snapshot.date_nsec)
      .set("vm-clock-sec", snapshot.vm_clock_nsec / kNanosecondsPerSecond)
      .set("vm-clock-nsec", snapshot.vm_clock_nsec % kNanosecondsPerSecond);
  if (snapshot.instruction_count) json.set("icount", *snapshot.instruction_count);
  return json;
}

JsonText qcow2_details(const jobs::Qcow2Info& qcow2) {
  const bool is_zstd = qcow2.compression_type == CompressionType::kZstd;
  JsonText json = JsonText::object();
  json.set("compat", qcow2.version < 3 ? "0.10" : "1.1")
      .set("compression-type", is_zstd ? "zstd" : "zlib")
      .set("refcount-bits", qcow2.refcount_bits);
  if (qcow2.version >= 3) {
    json.set("lazy-refcounts", qcow2.has_lazy_refcounts)
        .set("corrupt", qcow2.is_corrupt)
        .set("extended-l2", qcow2.has_extended_l2);
    if (qcow2.data_filename.has_value()) json.set("data-file", *qcow2.data_filename);
  }
  if (!qcow2.bitmaps.empty()) {
    JsonText bitmaps = JsonText::array();
    for (const auto& bitmap : qcow2.bitmaps) bitmaps.add(bitmap_json(bitmap));
    json.set("bitmaps", bitmaps);
  }
  if (qcow2.has_data_file) json.set("data-file-raw", qcow2.has_raw_data_file);
  if (is_encrypted(qcow2)) json.set("encrypt", encryption_json(qcow2));
  return json;
}

JsonText file_details(const jobs::ImageInfo& info) {
  JsonText json = JsonText::object();
  if (info.extent_size_hint != 0) json.set("extent-size-hint", info.extent_size_hint);
  return json;
}

JsonText info_to_json(const jobs::ImageInfo& info) {
  JsonText children = JsonText::array();
  for (const jobs::ChildInfo& each : info.children) {
    JsonText child = JsonText::object();
    child.set("name", each.name).set("info", info_to_json(each.info));
    children.add(child);
  }
  JsonText json = JsonText::object();
  json.set("children", children)
      .set("virtual-size", info.size)
      .set("filename", info.filename)
      .set("format", info.format);
  if (info.allocated_size) json.set("actual-size", *info.allocated_size);
  if (info.cluster_size) json.set("cluster-size", *info.cluster_size);
  if (info.qcow2) add_qcow2(json, *info.qcow2);
  if (is_file(info)) {
    JsonText specific = JsonText::object();
    specific.set("type", "file").set("data", file_details(info));
    json.set("format-specific", specific);
  }
  if (info.is_dirty) json.set("dirty-flag", *info.is_dirty);
  return json;
}

}  // namespace byre::cli
