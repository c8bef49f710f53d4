// SPDX-License-Identifier: Apache-2.0
#include "cli/io/usage.h"

namespace byre::cli::io {
namespace {

constexpr const char* kQemuOptions =
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

constexpr const char* kOptions =
    "  -h, --help             show this help and exit\n"
    "  -V, --version          show the version and exit\n"
    "  -c, --cmd COMMAND      run a command; may be repeated\n"
    "  -f, --format FMT       format of the image; default: detected from its first bytes\n"
    "  -r, --read-only        open the image read-only\n"
    "  -s, --snapshot         write to a temporary file that is deleted afterwards\n"
    "  -C, --copy-on-read     copy data that is read from the backing file into the image\n"
    "  -t, --cache MODE       writeback (default), none, off, directsync, writethrough, unsafe\n"
    "  -n, --nocache          the same as --cache none\n"
    "  -i, --aio MODE         threads, io_uring or native; native needs a cache mode that\n"
    "                         bypasses the host's cache\n"
    "  -k, --native-aio       the same as --aio native\n"
    "  -d, --discard MODE     unmap or on (default), ignore or off: what happens to discards\n"
    "  -U, --force-share      open the image even if another process is writing to it;\n"
    "                         only with -r\n"
    "  -m, --misalign         accepted and ignored; memory need not be aligned\n"
    "  -T, --trace TRACE      ignored with a warning; byre has no trace points\n"
    "      --image-opts       FILENAME is a list of options\n"
    "      --object OBJDEF    define an object that options refer to: secret,id=...\n"
    "\n";

}  // namespace

std::string program_usage(const Invocation& invocation) {
  if (invocation.as_qemu()) {
    return "Usage: " + invocation.program +
           " [OPTIONS]... [-c STRING]... [file]\nQEMU Disk exerciser\n\n" + kQemuOptions + "See '" +
           invocation.program + " -c help' for information on available commands.\n";
  }
  const std::string called = invocation.program + " " + invocation.command;
  return "Make single requests to a disk image.\n\nUsage: " + called +
         " [OPTIONS] [-c COMMAND]... [FILENAME]\n\n" + kOptions + "'" + called +
         " -c help' lists the commands; without -c they are read from standard input.\n";
}

}  // namespace byre::cli::io
