# SPDX-License-Identifier: Apache-2.0
"""The rules that broken_rules.py breaks, in the order of docs/decisions/0010-order-on-disk.md, and how."""
import collections

CRASHES_MAX = 10000

Edit = collections.namedtuple("Edit", "file old new")
Rule = collections.namedtuple("Rule", "name edits crashes_max")


def rule(name, *edits, crashes_max=CRASHES_MAX):
    """Edits of files below src; it must be found within crashes_max crashes."""
    return Rule(name, [Edit("src/" + edit[0], *edit[1:]) for edit in edits], crashes_max)


NO_DEPENDENCY = ("qcow2/write/linker.cc", """    co_await tables_->l2_cache.depend_on(tables_->refcount_cache);
""", "")
NO_DATA_FLUSH = ("qcow2/write/linker.cc", """  tables_->l2_cache.depend_on_flush();
""", "")

RULES = [
    rule("refcounts before the L2 entries that need them: on eviction",
         NO_DEPENDENCY),
    rule("refcounts before the L2 entries that need them: at a flush",
         NO_DEPENDENCY,
         ("qcow2/write/flusher.cc", "  if (with_refcounts) co_await tables_->refcount_cache.write_back();\n", "")),
    rule("data before the L2 entry that maps it",
         NO_DATA_FLUSH,
         ("qcow2/tables/table_cache_write.cc", """  if (depends_on_ != nullptr) co_await depends_on_->write_back();
  std::exception_ptr error;
  try {""", """  if (depends_on_ != nullptr) co_await depends_on_->write_back();
  std::exception_ptr error;
  if (false) try {""")),
    rule("data in the external data file before the L2 entry that maps it",
         ("qcow2/tables/table_cache_write.cc",
          "    if (flush_needed_ && data_file != nullptr) co_await data_file->flush();\n", "")),
    rule("an L2 table before its L1 entry",
         ("qcow2/write/flusher.cc", """  co_await flush_devices();
  co_await write_l1_table();""", "  co_await write_l1_table();")),
    rule("no L2 table is added between the writes of the L2 tables and of the L1 table",
         ("qcow2/write/flusher.cc", """  const Mutex::Guard guard = co_await linker_->l1_mutex().lock();
""", "")),
    rule("a refcount block before its refcount table entry: not flushed",
         ("qcow2/space/refcounts.cc", """    co_await context_->file().flush();
    operation = Health::Operation::kWrite;""", "    operation = Health::Operation::kWrite;")),
    rule("a refcount block before its refcount table entry: not written",
         ("qcow2/space/refcounts.cc", """    co_await refcount_cache_->write_back();
    co_await write_table_entry(block)""", "    co_await write_table_entry(block)")),
    rule("a new refcount table before the header names it",
         ("qcow2/core/header_store.cc", """    co_await file_->flush();
    // What""", """    if (offset != offsetof(RawHeader, refcount_table_offset)) co_await file_->flush();
    // What""")),
    rule("the blocks of a new refcount table before the header names it",
         ("qcow2/space/refcount_table_growth.cc", """  co_await refcount_cache_->write_back();
}""", "}")),
    rule("the header names the new refcount table before the old one is freed",
         ("qcow2/core/header_store.cc", """    co_await file_->write(offset, from);
    co_await file_->flush();""", """    co_await file_->write(offset, from);
    if (offset != offsetof(RawHeader, refcount_table_offset)) co_await file_->flush();"""), crashes_max=30000),
    rule("the header names the new L1 table before the old one is freed",
         ("qcow2/core/header_store.cc", """    co_await file_->write(offset, from);
    co_await file_->flush();""", """    co_await file_->write(offset, from);
    if (offset != offsetof(RawHeader, l1_size)) co_await file_->flush();""")),
    rule("a new L1 table before the header names it",
         ("qcow2/core/header_store.cc", """    co_await file_->flush();
    // What""", """    if (offset != offsetof(RawHeader, l1_size)) co_await file_->flush();
    // What""")),
    rule("the last cluster is zeroed past the old end before the disk grows",
         ("qcow2/resize/growth.cc", """  co_await zero_past_end(new_size, data_end);
  if (preallocation""", "  if (preallocation"),
         ("qcow2/resize/growth.cc", """  co_await context_->header_store.set_size(new_size);
""", """  co_await context_->header_store.set_size(new_size);
  co_await zero_past_end(new_size, data_end);
  co_await flusher_->flush();
""")),
    rule("the last reference is durably removed before the refcount is decremented",
         ("qcow2/write/flusher.cc", """  Allocator::DeferredFrees frees = allocator_->take_deferred();
""", """  co_await allocator_->release(allocator_->take_deferred());
  Allocator::DeferredFrees frees;
""")),
    rule("the last reference is durably removed before the cluster is allocated again",
         ("qcow2/write/flusher.cc", """co_await write_tables(with_refcounts);
    co_await flush_devices();""", "co_await write_tables(with_refcounts);")),
    rule("after a failed flush nothing more is written: by requests in flight",
         ("qcow2/image/write_parts.cc", """      context->health.check_not_failed();
      overlap.check(layout::HostOffset(offset), length, kind);""",
          "      overlap.check(layout::HostOffset(offset), length, kind);")),
    rule("after a failed flush nothing more is written",
         ("qcow2/core/health.cc", "  if (failure_ || is_retried) return;\n", "  if (is_retried || !is_retried) return;\n")),
    rule("compressed clusters are not packed into a cluster that was freed",
         ("qcow2/space/allocator.cc", """    packed_end_ = HostOffset();
  }
}""", """  }
}""")),
    rule("a cluster that a snapshot shares is not written in place",
         ("qcow2/write/writer.cc", "(entry.copied() || geometry.external_data_file())", "true")),
    rule("an L2 table that a snapshot shares is copied before it changes",
         ("qcow2/write/linker.cc", """  if (now.kind(geometry) == L1Kind::kTable && now.copied()) co_return;
""", """  if (now.kind(geometry) == L1Kind::kTable) co_return;
""")),
    rule("a request that changes the mapping of a cluster locks it exclusively",
         ("qcow2/write/writer.cc", """        co_await context_->guest_lock.acquire(lock_begin, lock_length, RangeLock::Mode::kExclusive);
""", """        co_await context_->guest_lock.acquire(lock_begin, lock_length, RangeLock::Mode::kShared);
""")),
    rule("a shared flush began after the request arrived",
         ("qcow2/write/flusher.cc", """  co_await run(!context_->uses_lazy_refcounts());
  done_ = covered;""", """  co_await run(!context_->uses_lazy_refcounts());
  done_ = std::max(covered, requested_);""")),
    rule("a flush waits for tables that another request is writing",
         ("qcow2/tables/table_cache.h", "return dirty_count_ > 0 || write_mutex_.is_locked();",
          "return dirty_count_ > 0;")),
    rule("a flush reaches the image file",
         ("qcow2/core/context.cc", "    co_await file().flush();\n", "")),
    rule("a flush reaches the external data file",
         ("qcow2/core/context.cc", "    if (storage.data_file() != nullptr) co_await storage.data_file()->flush();\n", "")),
    rule("what a table depends on is durable before the table is written",
         ("qcow2/tables/table_cache_write.cc", """  try {
    co_await satisfy_dependencies_locked();
""", """  try {
""")),
    rule("the dirty bit before the first change, with lazy refcounts",
         ("qcow2/write/preparation.cc", "    if (context_->uses_lazy_refcounts()) change.incompatible_set = "
          "layout::incompatible::kDirty;\n", "")),
    rule("the dirty bit is cleared after the refcounts are written, with lazy refcounts",
         ("qcow2/image/write_parts.cc", """  if (!context->health.is_prepared()) co_return;
  co_await flusher.flush_all();""", """  if (!context->health.is_prepared()) co_return;
  co_await flusher.flush();"""),
         ("qcow2/image/write_parts.cc", """  co_await flusher.flush_all();
  const HeaderStore""", """  co_await flusher.flush();
  const HeaderStore""")),
    rule("a write with FUA is durable when it is done",
         ("qcow2/image/image_write.cc", """    co_await parts->writer.write(offset, std::move(from));
  }
  if (has_flag(flags, WriteFlags::kFua)) co_await parts->flusher.flush();""",
          """    co_await parts->writer.write(offset, std::move(from));
  }""")),
    rule("with writethrough a write is durable when it is done",
         ("block/block_device.cc", "    flags = with_durability(flags);\n", "")),
    rule("with writethrough zeroes are durable when they are done",
         ("block/block_device.cc", "policy_.zeroes_flags(with_durability(flags))", "policy_.zeroes_flags(flags)")),
    rule("with writethrough a discard is durable when it is done",
         ("block/block_device.cc", "then_flush(do_discard(offset, length))", "do_discard(offset, length)")),
    rule("an L2 table has its space before a request that needs it is done",
         ("qcow2/write/linker.cc", "    co_await context_->file().reserve_space(table.value(), geometry.cluster_size());\n", "")),
    rule("a cluster that stays allocated is discarded when nothing on disk refers to its data",
         ("qcow2/write/flusher.cc", """  discards_->begin_flush();
""", """  discards_->begin_flush();
  co_await discards_->run();
""")),
    rule("a cluster that is written again is not discarded afterwards",
         ("qcow2/write/writer.cc", "discards_->is_idle()", "true")),
    rule("a preallocated cluster reads as zeroes on a disk with old data",
         ("qcow2/create/create.cc", "return offset < old_end_ && !options_.data_file_raw;", "return false;")),
    rule("what a repair has read is durable before it writes",
         ("qcow2/repair/repair.cc", """  // clusters which are free by the entries read now.
  co_await file().flush();
""", """  // clusters which are free by the entries read now.
""")),
    rule("memory for deferred frees is reserved before the change",
         ("qcow2/write/linker.cc", "  if (!geometry.external_data_file()) allocator_->reserve_deferred(count);\n", ""), crashes_max=30000),
    rule("bitmaps are marked in use before the first write",
         ("qcow2/bitmaps/bitmap_marks.cc", "    co_await context->file().write(place.value(), from);\n", "")),
    rule("the marks of bitmaps are durable before the first write",
         ("qcow2/bitmaps/bitmap_marks.cc", "    co_await context->file().flush();\n", "")),
    rule("marks that an earlier process set are durable before the first write",
         ("qcow2/bitmaps/bitmap_marks.cc", """    follows_writes |= bitmap.is_auto();
    if (!bitmap.is_auto() || bitmap.in_use()) continue;
""", """    if (!bitmap.is_auto() || bitmap.in_use()) continue;
    follows_writes = true;
"""), crashes_max=100000),
    rule("no request begins if a flush failed while it waited",
         ("qcow2/write/preparation.cc", """  context_->health.check_may_write();
  context_->health.set_prepared();
""", """  context_->health.set_prepared();
"""), ("qcow2/write/preparation.cc", """    context_->health.check_may_write();
    if (!context_->health.is_prepared())""", "    if (!context_->health.is_prepared())")),
    rule("a flush of an image that was only read reaches its files",
         ("qcow2/image/image_write.cc", "  return context.flush_devices();\n", "  return ready();\n")),
    rule("a flush fails if another one failed meanwhile",
         ("qcow2/core/context.cc", """  // Another flush failed meanwhile, and the host may have dropped what this one was for.
  health.check_not_failed();
""", "")),
    rule("an L2 table whose flags change is copied",
         ("qcow2/update/table_update.cc", """      const ClusterRange copy = co_await refcounts_.allocate(1);
      place = geometry.offset_of(copy.first);
""", ""),
         ("qcow2/update/table_update.cc", """      refcounts_.subtract(old);
    }
    const bool is_own""", """    }
    const bool is_own""")),
    rule("a refcount block that changes with other tables moves",
         ("qcow2/update/refcount_update.cc", """    const ClusterRange place = co_await allocate(1);
    blocks_[index]->place = place.first;
    has_placed = true;
    if (!refcounts_->has_block(index)) continue;
""", """    has_placed = true;
    if (refcounts_->has_block(index)) {
      blocks_[index]->place = context_->geometry.cluster_of(refcounts_->block_offset(index));
      continue;
    }
    const ClusterRange place = co_await allocate(1);
    blocks_[index]->place = place.first;
    if (!refcounts_->has_block(index)) continue;
""")),
    rule("what other tables free keeps its refcount until the header is durable",
         ("qcow2/update/refcount_update.cc", """  block->freed[index] = true;
""", """  block->freed[index] = true;
  set(cluster, 0);
"""), crashes_max=250000),
    rule("a snapshot is not in the table when its clusters become the disk's alone",
         ("qcow2/snapshots/snapshots.cc", """  co_await remove_entry(index);
  co_await drop_clusters(snapshot, l1);
""", """  co_await drop_clusters(snapshot, l1);
  co_await remove_entry(index);
"""), crashes_max=60000),
    rule("what waits for a flush is in the file before tables are replaced",
         ("qcow2/snapshots/snapshots.cc", """  check_create(wanted);
  co_await flusher_->settle();
""", """  check_create(wanted);
""")),
    rule("refcounts of another width before the header names them",
         ("qcow2/core/header_store.cc", """    co_await file_->flush();
    // What""", """    const bool is_width = offset == offsetof(RawHeader, refcount_table_offset) && bytes.size() > 12;
    if (!is_width) co_await file_->flush();
    // What""")),
    rule("the header names refcounts of another width before the old ones are freed",
         ("qcow2/core/header_store.cc", """    co_await file_->write(offset, from);
    co_await file_->flush();""", """    co_await file_->write(offset, from);
    const bool is_width = offset == offsetof(RawHeader, refcount_table_offset) && bytes.size() > 12;
    if (!is_width) co_await file_->flush();"""),
         ("qcow2/amend/refcount_width.cc", """  for (const ClusterRange& range : old) allocator_->defer_free(range);
  co_await flusher_->settle();
""", """  for (const ClusterRange& range : old) co_await allocator_->free(range);
"""), crashes_max=30000),
    rule("the refcounts of new clusters with zeroes before the L2 tables that get them",
         ("qcow2/amend/zero_expansion.cc", """  co_await tables_->refcount_cache.write_back();
  co_await context_->flush_devices();
  // From""", """  // From"""), crashes_max=30000),
    rule("new clusters with zeroes before the L2 tables that get them",
         ("qcow2/amend/zero_expansion.cc", """  co_await context_->flush_devices();
  // From""", """  // From"""), crashes_max=30000),
    rule("L2 tables without zero clusters before the header says version 2",
         # The byte that differs is the last one of the version.
         ("qcow2/core/header_store.cc", """    co_await file_->flush();
    // What""", """    if (offset != offsetof(RawHeader, version) + 3) co_await file_->flush();
    // What"""),
         ("qcow2/amend/zero_expansion.cc", """  co_await flusher_->settle();
  if (!dropped""", """  if (!dropped"""), crashes_max=60000),
    rule("what a rebase has copied, with its tables, before the header names the new backing file",
         ("jobs/convert.cc", "    co_await target_.flush();\n", ""),
         ("qcow2/image/image_write.cc", """    co_await image->writing->flusher.flush();
  } else {
    co_await context.flush_devices();""", """  } else {
    co_await context.flush_devices();""")),
    rule("a new backing file's name before the header says where it is",
         ("qcow2/core/header_store.cc", """    co_await file_->flush();
    // What""", """    const bool is_place = offset >= offsetof(RawHeader, backing_file_offset) &&
                          offset < offsetof(RawHeader, cluster_bits);
    if (!is_place) co_await file_->flush();
    // What"""), crashes_max=60000),
    rule("what a commit has copied is durable before the image is emptied",
         ("jobs/convert.cc", "    co_await target_.flush();\n", "")),
    rule("clusters that the disk takes from a snapshot have one more reference",
         ("qcow2/snapshots/cluster_sharing.cc", "      co_await allocator_->add_references(clusters[referenced]);\n",
          "")),
    rule("clusters that the disk takes from a snapshot are not written in place",
         ("qcow2/snapshots/cluster_sharing.cc", "entry.is_compressed() ? entry : entry.with_copied(false)",
          "entry.is_compressed() ? entry : entry.with_copied(true)")),
]
