// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/info_text.h"
#include "cli/json_text.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/qemu_text.h"
#include "jobs/snapshots.h"

namespace byre::cli {
namespace {

constexpr int kOutput = kLongOnly + 1;

enum class Action { kList, kCreate, kApply, kDelete };

struct SnapshotArguments {
  std::vector<jobs::SnapshotTarget> targets;
  std::optional<Action> action;
  std::string snapshot;
  OutputFormat output = OutputFormat::kHuman;
};

void set_action(SnapshotArguments& arguments, Action action, std::string snapshot) {
  if (arguments.action) throw UsageError("Cannot mix '-l', '-a', '-c', '-d'");
  arguments.action = action;
  arguments.snapshot = std::move(snapshot);
}

std::vector<std::string> image_names(const Invocation& invocation, const OptionReader& reader,
                                     const SnapshotArguments& arguments) {
  std::vector<std::string> names = reader.names();
  const bool takes_several = !invocation.as_qemu() && arguments.action == Action::kCreate;
  if (names.empty() || (names.size() > 1 && !takes_several)) {
    throw UsageError("Expecting one image file name");
  }
  return names;
}

SnapshotArguments read_arguments(Invocation& invocation) {
  SnapshotArguments arguments;
  open::ImageOptions image = image_options(invocation);
  bool image_opts = false;
  std::vector<LongOption> options{{"help", 'h'},         {"quiet", 'q'},
                                  {"format", 'f', true}, {"image-opts", kImageOpts},
                                  {"force-share", 'U'},  {"object", kObject, true},
                                  {"list", 'l'},         {"create", 'c', true},
                                  {"apply", 'a', true},  {"delete", 'd', true}};
  if (!invocation.as_qemu()) options.push_back({"output", kOutput, true});
  OptionReader reader(invocation, "hqf:Ulc:a:d:", options);
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        image.format = reader.argument();
        break;
      case 'U':
        image.force_share = true;
        break;
      case kImageOpts:
        image_opts = true;
        break;
      case 'l':
        set_action(arguments, Action::kList, "");
        break;
      case 'c':
        set_action(arguments, Action::kCreate, reader.argument());
        break;
      case 'a':
        set_action(arguments, Action::kApply, reader.argument());
        break;
      case 'd':
        set_action(arguments, Action::kDelete, reader.argument());
        break;
      case kOutput:
        arguments.output = parse_output_format(reader.argument());
        break;
      default:
        break;
    }
  }
  for (std::string& name : image_names(invocation, reader, arguments)) {
    jobs::SnapshotTarget target{std::move(name), image};
    if (image_opts) set_image_opts(invocation, target.filename, target.image);
    arguments.targets.push_back(std::move(target));
  }
  return arguments;
}

std::string list_text(const std::vector<jobs::SnapshotUse>& uses, OutputFormat output) {
  if (output == OutputFormat::kJson) {
    JsonText list = JsonText::array();
    for (const jobs::SnapshotUse& use : uses) {
      JsonText snapshot = snapshot_json(use.info);
      if (use.exclusive_size) snapshot.set("exclusive-size", *use.exclusive_size);
      list.add(std::move(snapshot));
    }
    return list.to_text() + "\n";
  }
  if (uses.empty()) return "";
  std::vector<jobs::SnapshotInfo> snapshots;
  for (const jobs::SnapshotUse& use : uses) snapshots.push_back(use.info);
  std::string text = "Snapshot list:\n";
  for (const std::string& row : snapshot_rows(snapshots)) text += row + "\n";
  return text;
}

void list(Loop& loop, const SnapshotArguments& arguments) {
  const jobs::SnapshotTarget& target = arguments.targets.front();
  const auto details = arguments.output == OutputFormat::kJson ? jobs::SnapshotDetails::kWithUse
                                                               : jobs::SnapshotDetails::kPlain;
  const std::vector<jobs::SnapshotUse> uses =
      loop.run(jobs::list_snapshots(target.filename, target.image, details));
  print(list_text(uses, arguments.output));
}

// QEMU's words for an error of one of the actions.
std::string reason_of(const Error& error, Action action) {
  const std::string_view code = error.data().code.view();
  if (action == Action::kApply) {
    if (code == "qcow2-snapshot-with-bitmaps") return "Device has active dirty bitmaps";
    if (code == "format-without-snapshots") return "Block driver does not support snapshots";
    return "Failed to load snapshot: " + errno_text(error.errno_value());
  }
  if (code == "qcow2-snapshot-not-found") return "snapshot not found";
  return errno_text(error.errno_value());
}

const char* name_of(Action action) {
  switch (action) {
    case Action::kList:
      return "list";
    case Action::kCreate:
      return "create";
    case Action::kApply:
      return "apply";
    case Action::kDelete:
      break;
  }
  return "delete";
}

void change(Loop& loop, const SnapshotArguments& arguments) {
  const jobs::SnapshotTarget& target = arguments.targets.front();
  const Action action = *arguments.action;
  try {
    if (action == Action::kCreate) {
      loop.run(jobs::create_snapshots(arguments.targets, arguments.snapshot));
    } else if (action == Action::kApply) {
      loop.run(jobs::apply_snapshot(target, arguments.snapshot));
    } else {
      loop.run(jobs::delete_snapshot(target, arguments.snapshot));
    }
  } catch (const jobs::SnapshotError& error) {
    const std::string hint = hint_below(error);
    throw Error(error.kind(), error.errno_value(),
                fmt::format("Could not {} snapshot '{}': {}", name_of(action), arguments.snapshot,
                            reason_of(error, action)),
                hint.empty() ? error.message() : hint);
  }
}

}  // namespace

int run_snapshot(Invocation& invocation) {
  const SnapshotArguments arguments = read_arguments(invocation);
  Loop loop;
  const bool is_list = arguments.action.value_or(Action::kList) == Action::kList;
  invocation.output_is_result = is_list;
  if (is_list) {
    list(loop, arguments);
  } else {
    change(loop, arguments);
  }
  return 0;
}

}  // namespace byre::cli
