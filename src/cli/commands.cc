// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "cli/command.h"

namespace byre::cli {
namespace {

constexpr std::array<Command, 16> kCommands{{
    {"amend", "Change options of an existing image", run_amend},
    {"bench", "Measure the speed of an image", run_bench},
    {"bitmap", "Add, change and remove dirty bitmaps", nullptr},
    {"check", "Check an image's metadata, and repair it", run_check},
    {"commit", "Copy an image's changes into its backing file", run_commit},
    {"compare", "Compare the contents of two images", run_compare},
    {"convert", "Copy images into a new one of any format", run_convert},
    {"create", "Create a new image", run_create},
    {"dd", "Copy part of an image into a new one", run_dd},
    {"info", "Show information about an image", run_info},
    {"io", "Make single requests to an image, like qemu-io", run_io, false},
    {"map", "Show where an image's data is", run_map},
    {"measure", "Estimate the size of a new image", run_measure},
    {"rebase", "Change an image's backing file", run_rebase},
    {"resize", "Change the size of an image", run_resize},
    {"snapshot", "List, create, apply and delete snapshots of an image", run_snapshot},
}};

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

const Command* find_command(const std::string& name) {
  for (const Command& command : kCommands) {
    if (name == command.name) return &command;
  }
  return nullptr;
}

}  // namespace byre::cli
