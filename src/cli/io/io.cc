// SPDX-License-Identifier: Apache-2.0
// `byre io`, and the program `qemu-io`: opens an image, then runs commands on it, from -c or from
// standard input. Exit code 1 if any of them failed.
#include <getopt.h>

#include <cerrno>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/io/opening.h"
#include "cli/io/session.h"
#include "cli/io/shell.h"
#include "cli/io/usage.h"
#include "cli/messages.h"
#include "cli/objects.h"
#include "cli/options.h"
#include "cli/trace.h"

namespace byre::cli {
namespace {

using io::OpenRequest;

// Options without a letter.
constexpr int kObjectOption = kLongOnly;
constexpr int kImageOptsOption = kLongOnly + 1;

// The order is visible in getopt's "ambiguous; possibilities".
constexpr option kLongs[] = {{"help", no_argument, nullptr, 'h'},
                             {"version", no_argument, nullptr, 'V'},
                             {"cmd", required_argument, nullptr, 'c'},
                             {"format", required_argument, nullptr, 'f'},
                             {"read-only", no_argument, nullptr, 'r'},
                             {"snapshot", no_argument, nullptr, 's'},
                             {"nocache", no_argument, nullptr, 'n'},
                             {"copy-on-read", no_argument, nullptr, 'C'},
                             {"misalign", no_argument, nullptr, 'm'},
                             {"native-aio", no_argument, nullptr, 'k'},
                             {"aio", required_argument, nullptr, 'i'},
                             {"discard", required_argument, nullptr, 'd'},
                             {"cache", required_argument, nullptr, 't'},
                             {"trace", required_argument, nullptr, 'T'},
                             {"force-share", no_argument, nullptr, 'U'},
                             {"object", required_argument, nullptr, kObjectOption},
                             {"image-opts", no_argument, nullptr, kImageOptsOption},
                             {nullptr, 0, nullptr, 0}};
constexpr const char* kLetters = "hVc:d:f:rsnCmki:t:T:U";

struct IoArguments {
  std::vector<std::string> commands;
  OpenRequest request;
  Objects objects;
  bool image_opts = false;
  bool has_format = false;
  bool has_image = false;
};

void take_option(IoArguments& arguments, int option, const Invocation& invocation) {
  OpenRequest& request = arguments.request;
  if (request.take_option(option, optarg == nullptr ? "" : optarg)) return;
  switch (option) {
    case 'h':
      print(io::program_usage(invocation));
      throw Exit{0};
    case 'V':
      print_version(invocation);
      throw Exit{0};
    case 'c':
      arguments.commands.emplace_back(optarg);
      break;
    case 'f':
      request.options.emplace_back("driver", optarg);
      arguments.has_format = true;
      break;
    case 'T':
      apply_trace_option(invocation, optarg);
      break;
    case kObjectOption:
      arguments.objects.add(optarg, invocation);
      break;
    case kImageOptsOption:
      arguments.image_opts = true;
      break;
    case '?':  // getopt has reported what is wrong
      print(io::program_usage(invocation));
      throw Exit{1};
    default:  // m: memory of any alignment is accepted
      break;
  }
}

IoArguments read_arguments(Invocation& invocation) {
  IoArguments arguments;
  optind = 0;  // glibc: start over, with this argv
  opterr = 1;
  const int argc = static_cast<int>(invocation.argv.size());
  for (;;) {
    const int option = getopt_long(argc, invocation.argv.data(), kLetters, kLongs, nullptr);
    if (option == -1) break;
    take_option(arguments, option, invocation);
  }
  if (argc - optind > 1) {
    print(io::program_usage(invocation));
    throw Exit{1};
  }
  if (arguments.image_opts && arguments.has_format) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "--image-opts and -f are mutually exclusive");
  }
  if (argc - optind == 1) {
    const char* const name = invocation.argv[static_cast<size_t>(optind)];
    arguments.has_image = true;
    if (arguments.image_opts) {
      arguments.request.add_options(name, invocation);
    } else {
      arguments.request.filename = name;
    }
  }
  return arguments;
}

bool close_reporting_errors(io::Session& session, const Invocation& invocation) {
  try {
    session.close();
    return true;
  } catch (const Error& error) {
    print_error(invocation, error);
    return false;
  }
}

}  // namespace

int run_io(Invocation& invocation) {
  IoArguments arguments = read_arguments(invocation);
  io::Session session(invocation);
  if (arguments.has_image) session.open(std::move(arguments.request));
  const bool succeeded = arguments.commands.empty() ? io::run_input(session, stdin)
                                                    : io::run_lines(session, arguments.commands);
  const bool closed = close_reporting_errors(session, invocation);
  return succeeded && closed && !session.has_failed() ? 0 : 1;
}

}  // namespace byre::cli
