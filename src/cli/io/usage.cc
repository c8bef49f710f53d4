// SPDX-License-Identifier: Apache-2.0
#include "cli/io/usage.h"

namespace byre::cli::io {
namespace {

constexpr const char* kOptions =
    "  --object OBJECTDEF   define an object such as 'secret' for\n"
    "                       passwords and/or encryption keys\n"
    "  --image-opts         treat file as option string\n"
    "  -c, --cmd STRING     execute command with its arguments\n"
    "                       from the given string\n"
    "  -f, --format FMT     specifies the block driver to use\n"
    "  -r, --read-only      export read-only\n"
    "  -s, --snapshot       use snapshot file\n"
    "  -n, --nocache        disable host cache, short for -t none\n"
    "  -C, --copy-on-read   enable copy-on-read\n"
    "  -m, --misalign       misalign allocations for O_DIRECT\n"
    "  -k, --native-aio     use kernel AIO implementation\n"
    "                       (Linux only, prefer use of -i)\n"
    "  -i, --aio=MODE       use AIO mode (threads, native or io_uring)\n"
    "  -t, --cache=MODE     use the given cache mode for the image\n"
    "  -d, --discard=MODE   use the given discard mode for the image\n"
    "  -T, --trace [[enable=]<pattern>][,events=<file>][,file=<file>]\n"
    "                       specify tracing options\n"
    "                       see qemu-img(1) man page for full description\n"
    "  -U, --force-share    force shared permissions\n"
    "  -h, --help           display this help and exit\n"
    "  -V, --version        output version information and exit\n"
    "\n";

}  // namespace

std::string program_usage(const Invocation& invocation) {
  const std::string called =
      invocation.as_qemu() ? invocation.program : invocation.program + " " + invocation.command;
  return "Usage: " + called + " [OPTIONS]... [-c STRING]... [file]\n" +
         (invocation.as_qemu() ? "QEMU Disk exerciser\n"
                               : "Make single requests to a disk image\n") +
         "\n" + kOptions + "See '" + called + " -c help' for information on available commands.\n";
}

}  // namespace byre::cli::io
