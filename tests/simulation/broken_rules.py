#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the simulation finds broken rules: breaks each rule on purpose, one at a time, in a
copy of the sources, and counts the crashes until a history fails.

The rules are those of docs/decisions/0010-order-on-disk.md and others that keep data safe. Each is
broken by exact replacements, so that a rule whose code has changed is noticed.
"""
import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CRASHES_MAX = 10000
SECONDS_MAX = 600

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
         ("qcow2/update/refcount_update.cc", """    block->freed[index] = true;
""", """    block->freed[index] = true;
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
]


def copy_sources(folder):
    """Copies what git would commit, changes included."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in listed.split("\0"):
        if not name or not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Only what differs, so that a kept folder is not rebuilt completely.
        if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
            shutil.copyfile(ROOT / name, target)


def broken_texts(folder, one):
    """{path: text with the rule broken}; None if the rule's code has changed."""
    texts = {}
    for edit in one.edits:
        path = folder / edit.file
        text = texts.get(path) or path.read_text()
        if text.count(edit.old) != 1:
            print(f"{edit.file} has this {text.count(edit.old)} times instead of once:\n{edit.old}")
            return None
        texts[path] = text.replace(edit.old, edit.new)
    return texts


def build(folder, jobs):
    log = folder / "build.log"
    with open(log, "wb") as out:
        for command in (["cmake", "--preset", "release"],
                        ["cmake", "--build", "--preset", "release", "--target", "simulation",
                         "-j", str(jobs)]):
            done = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                                  check=False)
            if done.returncode != 0:
                return log.read_text()[-3000:]
    return None


Outcome = collections.namedtuple("Outcome", "found seeds crashes how")


def simulate(folder, first, crashes_max):
    """Runs seeds from `first` on, until one fails or ends the program."""
    command = [str(folder / "build/release/tests/simulation"), "--from", str(first), "--seeds",
               str(crashes_max), "--crashes", str(crashes_max), "--failures", "1"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS_MAX, check=False)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b"").decode(errors="replace"), "a timeout"
    begun = re.findall(r"^seed (\d+), (\d+) crashes so far$", output, re.M)
    counts = re.search(r"^counts .*crashes=(\d+)", output, re.M)
    crashes = int(counts.group(1)) if counts else int(begun[-1][1])
    failed = re.search(r"^FAILED seed \d+: (.*)$", output, re.M)
    if failed:
        return Outcome(True, len(begun), crashes, failed.group(1))
    if code == 0:
        return Outcome(False, len(begun), crashes, "")
    last = output.rstrip().splitlines()[-1][:120]
    return Outcome(True, len(begun), crashes, f"the program ended with {code}: {last}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only rules whose names match")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--folder", type=pathlib.Path, help="where to build; kept, for the next run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="only check that all can be applied")
    arguments = parser.parse_args()
    rules = [one for one in RULES if re.search(arguments.filter, one.name)]
    missed = []
    if arguments.list:
        missed = [one.name for one in rules if broken_texts(ROOT, one) is None]
        print(f"{len(rules) - len(missed)} of {len(rules)} rules can be broken")
        return 1 if missed else 0
    folder = arguments.folder or pathlib.Path(tempfile.mkdtemp(prefix="byre-broken-rules-"))
    try:
        missed = run_rules(folder, rules, arguments)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"broken rules: {len(rules) - len(missed)} found, {len(missed)} missed")
    return 1 if missed else 0


def is_whole_without_changes(folder, arguments):
    """Whether no history fails without a broken rule: otherwise failures with one prove nothing."""
    copy_sources(folder)
    failure = build(folder, arguments.jobs)
    if failure:
        print(f"the sources do not build\n{failure}")
        return False
    outcome = simulate(folder, arguments.first, CRASHES_MAX // 4)
    if outcome.found:
        print(f"a history fails even without a broken rule: {outcome.how}")
    return not outcome.found


def run_rules(folder, rules, arguments):
    if not is_whole_without_changes(folder, arguments):
        return [one.name for one in rules]
    missed = []
    print("| rule broken | seeds | crashes | found as |\n| --- | --- | --- | --- |", flush=True)
    for one in rules:
        copy_sources(folder)
        texts = broken_texts(folder, one)
        if texts is None:
            missed.append(one.name)
            continue
        for path, text in texts.items():
            path.write_text(text)
        failure = build(folder, arguments.jobs)
        if failure:
            print(f"{one.name}: does not build\n{failure}")
            missed.append(one.name)
            continue
        outcome = simulate(folder, arguments.first, one.crashes_max)
        if not outcome.found:
            missed.append(one.name)
        how = outcome.how if outcome.found else "**not found**"
        print(f"| {one.name} | {outcome.seeds} | {outcome.crashes} | {how} |", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
