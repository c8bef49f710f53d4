// SPDX-License-Identifier: Apache-2.0
// The shell, called as main() calls it, and its lines from a file.
#include "cli/io/shell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "cli/command.h"
#include "cli/io/command_table.h"
#include "unit/support/temporary_folder.h"

namespace byre::cli::io {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int code = 0;
  std::string out;  // without times and rates
  std::string err;
};

std::string masked(const std::string& text) {
  static const std::regex kTimes("; [0-9:.]+( sec)? \\([^)]*/sec and [0-9.]+ ops/sec\\)");
  return std::regex_replace(text, kTimes, "; <time>");
}

Outcome run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = run_program(static_cast<int>(arguments.size()), argv.data());
  outcome.out = masked(testing::internal::GetCapturedStdout());
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

Outcome run_on(const std::string& image, const std::vector<std::string>& commands,
               const std::string& program = "qemu-io") {
  std::vector<std::string> arguments{program};
  if (program == "byre") arguments.emplace_back("io");
  for (const std::string& command : commands) {
    arguments.emplace_back("-c");
    arguments.push_back(command);
  }
  arguments.push_back(image);
  return run(arguments);
}

class IoShell : public testing::Test {
 protected:
  void SetUp() override {
    image_ = folder_.file("disk.qcow2");
    ASSERT_EQ(run({"byre", "create", "-q", "-f", "qcow2", image_, "1M"}).code, 0);
  }
  test::TemporaryFolder folder_;
  std::string image_;
};

TEST_F(IoShell, CommandsRunInTurnAndAFailureDoesNotStopThem) {
  const Outcome outcome = run_on(image_, {"write -P 3 0 1k", "read 1M 1", "read -P 3 1k 1",
                                          "read -v 1020 8", "quit", "length"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out,
            "wrote 1024/1024 bytes at offset 0\n"
            "1 KiB, 1 ops; <time>\n"
            "read failed: Input/output error\n"
            "Pattern verification failed at offset 1024, 1 bytes\n"
            "read 1/1 bytes at offset 1024\n"
            "1 bytes, 1 ops; <time>\n"
            "000003fc:  03 03 03 03 00 00 00 00  ........\n"
            "read 8/8 bytes at offset 1020\n"
            "8 bytes, 1 ops; <time>\n");
  EXPECT_EQ(outcome.err, "");
}

TEST_F(IoShell, UnderByresNameAFailureHasAReason) {
  const Outcome outcome = run_on(image_, {"read 1M 1"}, "byre");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out,
            "read failed: Input/output error\n"
            "1 bytes at offset 1048576 are not within the disk, which has 1048576 bytes\n");
}

TEST_F(IoShell, RequestsBesideOneAnotherAreToldBeforeTheEnd) {
  const Outcome outcome = run_on(
      image_, {"aio_write -P 1 0 64k", "aio_flush", "aio_read -P 1 0 64k", "aio_write 1M 1"});
  EXPECT_EQ(outcome.code, 0);  // later failures do not count
  EXPECT_EQ(outcome.out,
            "wrote 65536/65536 bytes at offset 0\n"
            "64 KiB, 1 ops; <time>\n"
            "read 65536/65536 bytes at offset 0\n"
            "64 KiB, 1 ops; <time>\n"
            "aio_write failed: Input/output error\n");
}

TEST_F(IoShell, AReadOnlyImageRefusesBeforeTheArgumentsAreLookedAt) {
  const Outcome outcome = run({"qemu-io", "-r", image_, "-c", "write x y", "-c", "write"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "qemu-io: Block node is read-only\n"
            "bad argument count 0 to write, expected at least 2 arguments\n");
}

TEST_F(IoShell, OpensReopensAndCloses) {
  const Outcome outcome =
      run({"qemu-io", "-c", "length", "-c", "open -r " + image_, "-c", "length", "-c",
           "open " + image_, "-c", "reopen -w", "-c", "write -q 0 1", "-c", "close", "-c", "map"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "1 MiB\n");
  EXPECT_EQ(outcome.err,
            "no file open, try 'help open'\n"
            "qemu-io: file open already, try 'help close'\n"
            "no file open, try 'help open'\n");
}

TEST_F(IoShell, AllCommandsHaveHelpUnderBothTheirNames) {
  for (const Command& command : commands()) {
    const std::string name = command.name;
    const Outcome outcome = run({"qemu-io", "-c", "help " + name});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, StartsWith(name + " "));
    EXPECT_THAT(outcome.out, HasSubstr(std::string("-- ") + command.summary + "\n"));
    EXPECT_EQ(find_command(name), &command);
    if (command.short_name == nullptr) continue;
    EXPECT_EQ(find_command(command.short_name), &command);
    EXPECT_THAT(run({"qemu-io", "-c", std::string("help ") + command.short_name}).out,
                StartsWith(std::string(command.short_name) + " "));
  }
  EXPECT_EQ(run({"qemu-io", "-c", "help nothing"}).out, "command nothing not found\n");
}

TEST_F(IoShell, TheNumberOfArgumentsIsToldInThreeForms) {
  EXPECT_EQ(run_on(image_, {"read"}).err,
            "bad argument count 0 to read, expected at least 2 arguments\n");
  EXPECT_EQ(run_on(image_, {"map 1"}).err, "bad argument count 1 to map, expected 0 arguments\n");
  EXPECT_EQ(run_on(image_, {"a 1 2 3"}).err,
            "bad argument count 3 to a, expected between 1 and 2 arguments\n");
}

TEST_F(IoShell, TheHelpIsQemusUnderItsNameAndByresOwnOtherwise) {
  EXPECT_THAT(run({"qemu-io", "--help"}).out,
              HasSubstr("  -r, --read-only      export read-only\n"));
  EXPECT_THAT(run({"byre", "io", "--help"}).out,
              HasSubstr("  -r, --read-only        open the image read-only\n"));
}

TEST_F(IoShell, WrongOptionsOfTheProgramShowItsUsage) {
  const Outcome outcome = run({"qemu-io", "--foo"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "qemu-io: unrecognized option '--foo'\n");
  EXPECT_THAT(outcome.out, StartsWith("Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"));
  EXPECT_THAT(run({"byre", "io", "a", "b"}).out, HasSubstr("\nUsage: byre io [OPTIONS]"));
  EXPECT_EQ(run({"qemu-img", "io"}).err,
            "qemu-img: Command not found: io\nTry 'qemu-img --help' for more info\n");
}

TEST_F(IoShell, ImagesThatCannotBeOpenedEndTheProgramBeforeAnyCommand) {
  const std::string none = folder_.file("none");
  const Outcome outcome = run_on(none, {"length"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "qemu-io: can't open device " + none + ": Could not open '" + none +
                             "': No such file or directory\n");
}

TEST_F(IoShell, CompressedWritesAreOfWholeClusters) {
  const Outcome outcome = run_on(
      image_, {"write -cq 0 128k", "write -c 64k 32k", "write -c 32k 64k", "write -cq 960k 64k"});
  EXPECT_EQ(outcome.out, "write failed: Invalid argument\nwrite failed: Invalid argument\n");
  EXPECT_EQ(run_on(image_, {"read -q -P 0xcd 0 128k", "read -q -P 0xcd 960k 64k"}).code, 0);
  const std::string raw = folder_.file("disk.raw");
  ASSERT_EQ(run({"byre", "create", "-q", "-f", "raw", raw, "1M"}).code, 0);
  EXPECT_EQ(run({"qemu-io", "-f", "raw", raw, "-c", "write -c 0 64k"}).out,
            "write failed: Operation not supported\n");
}

TEST(ReadLine, EndsAtTheLinesEndOrAtAZeroByte) {
  const test::TemporaryFolder folder;
  const std::string text("one\n\ntwo\0three\nfour", 20);
  const std::string name = folder.make("lines", {text.begin(), text.end()});
  std::FILE* const input = std::fopen(name.c_str(), "rb");
  ASSERT_NE(input, nullptr);
  Loop loop;
  for (const char* expected : {"one", "", "two", "four"}) {
    EXPECT_EQ(loop.run(read_line(input)), expected);
  }
  EXPECT_EQ(loop.run(read_line(input)), std::nullopt);
  std::fclose(input);
}

TEST_F(IoShell, InputIsReadBehindAPromptUntilItsEnd) {
  const std::string text = "length\n\nfoo\nquit\nlength\n";
  const std::string name = folder_.make("lines", {text.begin(), text.end()});
  std::FILE* const input = std::fopen(name.c_str(), "rb");
  ASSERT_NE(input, nullptr);
  Invocation invocation;
  invocation.program = "qemu-io";
  Session session(invocation);
  OpenRequest request;
  request.filename = image_;
  session.open(request);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  EXPECT_FALSE(run_input(session, input));
  session.close();
  std::fclose(input);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "qemu-io> 1 MiB\nqemu-io> qemu-io> qemu-io> ");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "command \"foo\" not found\n");
}

}  // namespace
}  // namespace byre::cli::io
