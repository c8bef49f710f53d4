// SPDX-License-Identifier: Apache-2.0
// The whole program, called as main() calls it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"

namespace byre::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_program(static_cast<int>(arguments.size()), argv.data());
  Outcome outcome{code, testing::internal::GetCapturedStdout(),
                  testing::internal::GetCapturedStderr()};
  return outcome;
}

TEST(Program, TakesTheNameThatItIsCalledBy) {
  EXPECT_THAT(run({"/some/where/qemu-img", "--version"}).out, StartsWith("qemu-img version 10.0"));
  EXPECT_THAT(run({"byre", "--version"}).out, StartsWith("byre version "));
  EXPECT_THAT(run({"./other", "--version"}).out, StartsWith("byre version "));
  EXPECT_EQ(run({"./qemu-img"}).err,
            "qemu-img: Not enough arguments\nTry 'qemu-img --help' for more info\n");
}

TEST(Program, AnUnknownCommandOrOptionIsOneInQemusWords) {
  const Outcome command = run({"qemu-img", "foo"});
  EXPECT_EQ(command.code, 1);
  EXPECT_EQ(command.err, "qemu-img: Command not found: foo\nTry 'qemu-img --help' for more info\n");
  const Outcome option = run({"qemu-img", "--foo"});
  EXPECT_EQ(option.code, 1);
  EXPECT_EQ(option.err,
            "qemu-img: unrecognized option '--foo'\nTry 'qemu-img --help' for more info\n");
}

TEST(Program, EveryCommandHasHelpOrIsRefusedByName) {
  for (const Command& command : commands()) {
    const Outcome outcome = run({"byre", command.name, "--help"});
    if (command.function != nullptr) {
      EXPECT_EQ(outcome.code, 0) << command.name;
      EXPECT_THAT(outcome.out, HasSubstr("Usage: byre " + std::string(command.name)));
    } else {
      EXPECT_EQ(outcome.code, 1) << command.name;
      EXPECT_EQ(outcome.err, "byre: byre does not support the command '" +
                                 std::string(command.name) + "' yet\n");
    }
  }
}

TEST(Program, HelpListsEveryCommand) {
  const Outcome outcome = run({"byre", "-h"});
  EXPECT_EQ(outcome.code, 0);
  for (const Command& command : commands()) EXPECT_THAT(outcome.out, HasSubstr(command.name));
}

TEST(Program, ByreAddsAHintAndQemuImgDoesNot) {
  const std::string words = "Parameter 'cluster_size' expects a non-negative number below 2^64";
  EXPECT_THAT(run({"qemu-img", "create", "-f", "foo", "x", "1M"}).err,
              "qemu-img: x: Unknown file format 'foo'\n");
  EXPECT_EQ(run({"byre", "create", "-f", "foo", "x", "1M"}).err,
            "byre: x: Unknown file format 'foo'\nthe supported formats are raw and qcow2\n");
  EXPECT_THAT(run({"qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=a", "x", "1M"}).err,
              StartsWith("qemu-img: x: " + words + "\nOptional suffix"));
}

TEST(Program, TracePointsDoNotExist) {
  EXPECT_EQ(
      run({"qemu-img", "-T", "foo", "-T", "enable=bar", "-T", "b*", "-T", "file=x", "info"}).err,
      "qemu-img: warning: trace event 'foo' does not exist\n"
      "qemu-img: warning: trace event 'bar' does not exist\n"
      "qemu-img: Expecting one image file name\nTry 'qemu-img info --help' for more info\n");
  EXPECT_EQ(run({"qemu-img", "-T", "foo=bar", "info"}).err, "qemu-img: Invalid parameter 'foo'\n");
}

TEST(Program, TheHelpHasTheLinesInWhichScriptsLookForFormats) {
  const std::string help = run({"qemu-img", "--help"}).out;
  EXPECT_THAT(help, HasSubstr("\nSupported image formats:\n\n  blkdebug "));
  EXPECT_THAT(help, HasSubstr("\nSupported formats: blkdebug "));
  EXPECT_THAT(help, HasSubstr(" qcow2 raw\n"));
}

TEST(Program, TheHelpOfByreTellsFormatsFromProtocolsAndFilters) {
  EXPECT_THAT(run({"byre", "--help"}).out,
              HasSubstr("\nFormats: qcow2 raw\n"
                        "Protocols and filters: blkdebug compress copy-on-read file "));
}

}  // namespace
}  // namespace byre::cli
