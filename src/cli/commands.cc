// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "cli/command.h"

namespace byre::cli {
namespace {

constexpr std::array<Command, 16> kCommands{{
    {"amend", "Change options of an existing image", nullptr},
    {"bench", "Measure how fast an image is", nullptr},
    {"bitmap", "Add, change and remove dirty bitmaps", nullptr},
    {"check", "Check that an image's metadata is sound", run_check},
    {"commit", "Copy an image's changes into its backing file", nullptr},
    {"compare", "Compare what two images hold", run_compare},
    {"convert", "Copy images into a new one, of any format", run_convert},
    {"create", "Make a new image", run_create},
    {"dd", "Copy part of an image into a new one", run_dd},
    {"info", "Show what an image is", run_info},
    {"io", "Make single requests of an image, as qemu-io does", run_io, false},
    {"map", "Show where an image's data lies", run_map},
    {"measure", "Tell how large a new image would be", run_measure},
    {"rebase", "Change an image's backing file", nullptr},
    {"resize", "Change the size of an image", nullptr},
    {"snapshot", "List, make, apply and delete snapshots in an image", nullptr},
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
