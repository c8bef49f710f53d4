// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/format.h>

#include <cerrno>

#include "cli/help.h"
#include "cli/messages.h"

namespace byre::cli {

UsageError::UsageError(std::string message)
    : Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message)) {}

OptionReader::OptionReader(Invocation& invocation, const char* letters,
                           const std::vector<LongOption>& longs)
    : invocation_(invocation), letters_(letters) {
  longs_.reserve(longs.size() + 1);
  for (const LongOption& each : longs) {
    longs_.push_back(
        {each.name, each.takes_argument ? required_argument : no_argument, nullptr, each.value});
  }
  longs_.push_back({nullptr, 0, nullptr, 0});
  optind = 0;  // glibc: start over, with this argv
  opterr = 1;
}

std::optional<int> OptionReader::next() {
  const int argc = static_cast<int>(invocation_.argv.size());
  const int option =
      getopt_long(argc, invocation_.argv.data(), letters_.c_str(), longs_.data(), nullptr);
  switch (option) {
    case -1:
      return std::nullopt;
    case '?':  // getopt has reported what is wrong
      print_usage_pointer(invocation_);
      throw Exit{1};
    case 'h':
      print_command_help(invocation_);
      throw Exit{0};
    case kObject:
      objects_.add(argument(), invocation_);
      return next();
    default:
      return option;
  }
}

std::string OptionReader::argument() const {
  return optarg == nullptr ? "" : optarg;
}

std::string OptionReader::peek() const {
  const auto index = static_cast<size_t>(optind);
  return index < invocation_.argv.size() ? invocation_.argv[index] : "";
}

std::string OptionReader::take() {
  const std::string text = peek();
  ++optind;
  return text;
}

std::vector<std::string> OptionReader::names() const {
  std::vector<std::string> names;
  for (size_t i = static_cast<size_t>(optind); i < invocation_.argv.size(); ++i) {
    names.emplace_back(invocation_.argv[i]);
  }
  return names;
}

std::string OptionReader::only_name() const {
  const std::vector<std::string> all = names();
  if (all.size() != 1) throw UsageError("Expecting one image file name");
  return all[0];
}

OutputFormat parse_output_format(const std::string& text) {
  if (text == "human") return OutputFormat::kHuman;
  if (text == "json") return OutputFormat::kJson;
  throw UsageError("--output expects 'human' or 'json' not '" + text + "'");
}

storage::CacheMode parse_cache_option(const char* what, const std::string& text) {
  const std::optional<storage::CacheMode> mode = storage::parse_cache_mode(text);
  if (mode) return *mode;
  throw Error(ErrorKind::kInvalidArgument, EINVAL, fmt::format("Invalid {}: {}", what, text));
}

void refuse_unsupported(const std::string& what) {
  throw Error(ErrorKind::kUnsupported, ENOTSUP, "byre does not support " + what + " yet");
}

}  // namespace byre::cli
