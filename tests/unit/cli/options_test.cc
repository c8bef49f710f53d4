// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace byre::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kOutput = kLongOnly + 1;

// A command line, kept alive as main() would keep it.
class CommandLine {
 public:
  explicit CommandLine(std::vector<std::string> arguments, const std::string& program = "qemu-img")
      : texts_(std::move(arguments)) {
    texts_.insert(texts_.begin(), program + " info");
    for (std::string& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
    invocation_.program = program;
    invocation_.command = "info";
    invocation_.argv = std::span(pointers_.data(), texts_.size());
  }

  OptionReader reader() {
    return OptionReader(invocation_, "hf:bU",
                        {{"help", 'h'},
                         {"format", 'f', true},
                         {"image-opts", kImageOpts},
                         {"backing-chain", 'b'},
                         {"output", kOutput, true},
                         {"object", kObject, true}});
  }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
  Invocation invocation_;
};

// The exit code with which reading the options ended, and what went to stderr; nothing if they were
// read.
std::optional<int> exit_code_of(std::vector<std::string> arguments, std::string* printed) {
  CommandLine line(std::move(arguments));
  OptionReader reader = line.reader();
  testing::internal::CaptureStderr();
  std::optional<int> code;
  try {
    while (reader.next()) {
    }
  } catch (const Exit& exit) {
    code = exit.code;
  }
  *printed = testing::internal::GetCapturedStderr();
  return code;
}

TEST(OptionReader, GivesOptionsTheirArgumentsAndThenTheNames) {
  CommandLine line({"-b", "a", "--format=raw", "b", "--output", "json", "--", "-c"});
  OptionReader reader = line.reader();
  EXPECT_EQ(reader.next(), 'b');
  EXPECT_EQ(reader.next(), 'f');
  EXPECT_EQ(reader.argument(), "raw");
  EXPECT_EQ(reader.next(), kOutput);
  EXPECT_EQ(reader.argument(), "json");
  EXPECT_EQ(reader.next(), std::nullopt);
  EXPECT_THAT(reader.names(), ElementsAre("a", "b", "-c"));
}

TEST(OptionReader, ASecondReaderBeginsAfresh) {
  for (int round = 0; round < 2; ++round) {
    CommandLine line({"-b"});
    OptionReader reader = line.reader();
    EXPECT_EQ(reader.next(), 'b');
    EXPECT_EQ(reader.next(), std::nullopt);
    EXPECT_THAT(reader.names(), IsEmpty());
  }
}

TEST(OptionReader, TakesWhatBeginsAnOptionsNameAlone) {
  CommandLine line({"--back", "--outp=json"});
  OptionReader reader = line.reader();
  EXPECT_EQ(reader.next(), 'b');
  EXPECT_EQ(reader.next(), kOutput);
}

TEST(OptionReader, AWrongOptionEndsTheCommandInQemusWords) {
  std::string printed;
  EXPECT_EQ(exit_code_of({"-z"}, &printed), 1);
  EXPECT_EQ(printed,
            "qemu-img info: invalid option -- 'z'\nTry 'qemu-img info --help' for more info\n");
  EXPECT_EQ(exit_code_of({"--output"}, &printed), 1);
  EXPECT_EQ(printed,
            "qemu-img info: option '--output' requires an argument\n"
            "Try 'qemu-img info --help' for more info\n");
  EXPECT_EQ(exit_code_of({"--o", "x"}, &printed), 1);
  EXPECT_THAT(printed, HasSubstr("possibilities: '--output' '--object'"));
}

TEST(OptionReader, HelpIsPrintedWhereItStands) {
  testing::internal::CaptureStdout();
  std::string printed;
  const std::optional<int> code = exit_code_of({"-h", "-z"}, &printed);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("--backing-chain"));
  EXPECT_EQ(code, 0);
  EXPECT_EQ(printed, "");
}

TEST(OptionReader, ObjectsAreCheckedAndNotGiven) {
  CommandLine good({"--object=secret,id=s,data=x", "-U"});
  OptionReader reader = good.reader();
  EXPECT_EQ(reader.next(), 'U');
  CommandLine bad({"--object=x"});
  OptionReader refusing = bad.reader();
  try {
    refusing.next();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Parameter 'qom-type' does not accept value 'x'");
  }
}

TEST(ParseOutputFormat, KnowsTwo) {
  EXPECT_EQ(parse_output_format("human"), OutputFormat::kHuman);
  EXPECT_EQ(parse_output_format("json"), OutputFormat::kJson);
  try {
    parse_output_format("xml");
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.message(), "--output expects 'human' or 'json' not 'xml'");
  }
}

}  // namespace
}  // namespace byre::cli
