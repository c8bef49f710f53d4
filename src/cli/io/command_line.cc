// SPDX-License-Identifier: Apache-2.0
#include "cli/io/command_line.h"

#include <getopt.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "cli/messages.h"
#include "cli/sizes.h"

namespace byre::cli::io {
namespace {

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

}  // namespace

CommandLine::CommandLine(std::string_view line) : CommandLine(split(line)) {}

CommandLine::CommandLine(std::vector<std::string> words) : words_(std::move(words)) {
  for (std::string& word : words_) argv_.push_back(word.data());
  argv_.push_back(nullptr);
}

std::optional<char> CommandLine::next_option(const char* letters) {
  if (!began_) {
    began_ = true;
    optind = 0;  // glibc: start over, with this argv
    opterr = 1;
    flush_output();  // getopt's messages must come after earlier output
  }
  const int option = getopt(static_cast<int>(argv_.size() - 1), argv_.data(), letters);
  operands_.clear();
  for (size_t i = static_cast<size_t>(optind); i + 1 < argv_.size(); ++i) {
    operands_.emplace_back(argv_[i]);
  }
  if (option == '?') throw UsageRequest{};
  if (option == -1) return std::nullopt;
  return static_cast<char>(option);
}

std::string CommandLine::option_argument() const {
  return optarg == nullptr ? "" : optarg;
}

int64_t parse_offset(const std::string& text, const std::optional<std::string>& shown) {
  const ParsedSize size = parse_size(text);
  if (size.fault == SizeFault::kNotANumber) {
    throw Refusal{"Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- " +
                  shown.value_or(text)};
  }
  if (size.fault == SizeFault::kOutOfRange || size.value > INT64_MAX) {
    throw Refusal{"Parsing error: argument too large -- " + shown.value_or(text)};
  }
  return static_cast<int64_t>(size.value);
}

uint8_t parse_pattern(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text.c_str(), &end, 0);
  if (errno != 0 || end == text.c_str() || *end != '\0' || value < 0 || value > UINT8_MAX) {
    throw Refusal{text + " is not a valid pattern byte"};
  }
  return static_cast<uint8_t>(value);
}

std::vector<uint64_t> parse_lengths(const std::vector<std::string>& texts) {
  std::vector<uint64_t> lengths;
  int64_t total = 0;
  for (const std::string& text : texts) {
    const int64_t length = parse_offset(text);
    const std::string limit = std::to_string(kRequestMax);
    if (length > kRequestMax) {
      throw Refusal{"Argument '" + text + "' exceeds maximum size " + limit};
    }
    if (length > kRequestMax - total) {
      throw Refusal{"The total number of bytes exceed the maximum size " + limit};
    }
    total += length;
    lengths.push_back(static_cast<uint64_t>(length));
  }
  return lengths;
}

}  // namespace byre::cli::io
