// SPDX-License-Identifier: Apache-2.0
#include "cli/command_help.h"

namespace byre::cli {
namespace {

constexpr CommandHelp kHelp[] = {
    {"check", "[-f FMT] [-r leaks|all] [-T CACHE] [-U] [-q] [--output human|json] FILENAME",
     "  -h, --help                show this and end\n"
     "  -q, --quiet               print errors only\n"
     "  -f, --format FMT          FILENAME has this format; default: look at its first bytes\n"
     "  -T, --cache CACHE         how FILENAME is cached: writeback (default), none, directsync,\n"
     "                            writethrough, unsafe\n"
     "  -U, --force-share         open it though another process writes to it\n"
     "      --output human|json   how to print the result\n"
     "  -r, --repair leaks|all    give space back that nothing refers to, or repair all that can "
     "be\n"
     "                            repaired without losing anything\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n",
     "\nOnly byre:\n"
     "      --drop-unreadable     with -r all: give up what cannot be read: references past the "
     "end\n"
     "                            of the file, snapshots whose entry or L1 table is broken\n"},
    {"compare", "[-f FMT] [-F FMT] [-T CACHE] [-s] [-p] [-q] [-U] FILENAME1 FILENAME2",
     "  -h, --help            show this and end\n"
     "  -q, --quiet           print nothing; the exit code tells\n"
     "  -p, --progress        show how far it is\n"
     "  -f, --a-format FMT    FILENAME1 has this format\n"
     "  -F, --b-format FMT    FILENAME2 has this format\n"
     "  -s, --strict          images of different size or allocation differ\n"
     "  -T, --cache CACHE     how both are cached\n"
     "  -U, --force-share     open them though another process writes to them\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n"
     "\n"
     "Exit code: 0 the same, 1 different, 2 an image cannot be opened, 3 its allocation cannot be\n"
     "read, 4 its data cannot be read.\n",
     ""},
    {"convert",
     "[-f FMT] [-O FMT] [-o OPTIONS] [-c] [-p] [-q] [-n] [-t CACHE] [-T CACHE]\n"
     "       [-B BACKING [-F FMT]] [-l SNAPSHOT] [-S SIZE] [-m COUNT] [-r RATE] [-U] [-C] [-W]\n"
     "       [--target-is-zero] [--salvage] FILENAME [FILENAME2 ...] TARGET",
     "  -h, --help                        show this and end\n"
     "  -q, --quiet                       print errors only\n"
     "  -p                                show how far it is\n"
     "  -f, --source-format FMT           the sources have this format\n"
     "  -O, --output-format FMT           format of TARGET; default: raw\n"
     "  -o, --options OPTIONS             options of TARGET; `-o help` lists them\n"
     "  -c                                compress the data (qcow2)\n"
     "  -B, --backing FILENAME            TARGET holds only what differs from this image\n"
     "  -F, --backing-format FMT          the backing image has this format\n"
     "  -l, --snapshot SNAPSHOT           copy this snapshot: its id or name, or\n"
     "                                    snapshot.id=ID,snapshot.name=NAME\n"
     "  -n                                TARGET exists already\n"
     "      --target-is-zero              TARGET reads as zeroes; with -n\n"
     "  -S, --sparse-size SIZE            zeroes of this length become holes; default: 4k, 0: none "
     "do\n"
     "  -t, --output-cache CACHE          how TARGET is cached; default: unsafe\n"
     "  -T, --source-cache CACHE          how the sources are cached; default: writeback\n"
     "  -m, --parallel COUNT              requests in flight, 1 to 16; default: 8\n"
     "  -r, --rate RATE                   bytes a second at most\n"
     "  -W, --oob-writes                  write in any order\n"
     "  -C, --copy-range-offloading       let the host copy\n"
     "      --salvage                     read zeroes where a source cannot be read\n"
     "  -U, --force-share                 open the sources though another process writes to them\n"
     "      --image-opts            the sources are lists of options (also --source-image-opts)\n"
     "      --target-image-opts     the target is one; needs -n\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n"
     "      --bitmaps, --skip-broken-bitmaps   not there yet: refused\n",
     "\nOnly byre:\n"
     "      --compress-level LEVEL        1 (fast) to 9 (small); see docs/compression.md\n"
     "      --progress=json               progress as JSON lines on standard error\n"
     "      - as FILENAME or TARGET       standard input, standard output\n"},
    {"create", "[-f FMT] [-o OPTIONS] [-b BACKING [-F FMT]] [-u] [-q] FILENAME [SIZE]",
     "  -h, --help                  show this and end\n"
     "  -q, --quiet                 print errors only\n"
     "  -f, --format FMT            format of the new image; default: raw\n"
     "  -o, --options OPTIONS       options of the format; `-o help` lists them\n"
     "  -b, --backing FILENAME      the new image holds only what differs from this one\n"
     "  -F, --backing-format FMT    the backing image has this format\n"
     "  -u, --backing-unsafe        do not open the backing image; SIZE must be given\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n"
     "\n"
     "SIZE is in bytes, or has a suffix: k M G T P E (powers of 1024). With -b and without SIZE "
     "the\n"
     "new image is as large as the backing image. An existing FILENAME is overwritten.\n",
     ""},
    {"dd", "[-f FMT] [-O FMT] [-U] [bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=FILENAME of=TARGET",
     "  -h, --help                 show this and end\n"
     "  -f, --format FMT           the input has this format\n"
     "  -O, --output-format FMT    format of the output; default: raw\n"
     "  -U, --force-share          open the input though another process writes to it\n"
     "      bs=SIZE                bytes in a block; default: 512\n"
     "      count=BLOCKS           copy so many blocks; default: all\n"
     "      skip=BLOCKS            leave out so many blocks at the start\n"
     "      if=FILENAME            the image to read\n"
     "      of=TARGET              the image to make\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n",
     ""},
    {"info", "[-f FMT] [--backing-chain] [-U] [--output human|json] FILENAME",
     "  -h, --help                show this and end\n"
     "  -f, --format FMT          FILENAME has this format; default: look at its first bytes\n"
     "  -b, --backing-chain       show the images below it, too\n"
     "  -U, --force-share         open it though another process writes to it\n"
     "      --output human|json   how to print the result\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n",
     ""},
    {"map",
     "[-f FMT] [--start-offset OFFSET] [--max-length LENGTH] [-U] [--output human|json] FILENAME",
     "  -h, --help                   show this and end\n"
     "  -f, --format FMT             FILENAME has this format; default: look at its first bytes\n"
     "  -s, --start-offset OFFSET    begin here\n"
     "  -l, --max-length LENGTH      show no more than this many bytes\n"
     "  -U, --force-share            open it though another process writes to it\n"
     "      --output human|json      how to print the result\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n",
     ""},
    {"measure",
     "[-O FMT] [-o OPTIONS] [-f FMT] [-l SNAPSHOT] [-U] [--output human|json]\n"
     "       (--size SIZE | FILENAME)",
     "  -h, --help                 show this and end\n"
     "  -O, --target-format FMT    format of the image to be; default: raw\n"
     "  -o, --options OPTIONS      options of that format; `-o help` lists them\n"
     "      --size SIZE            it would be empty and have this size\n"
     "  -f, --format FMT           FILENAME has this format\n"
     "  -l, --snapshot SNAPSHOT    it would hold this snapshot of FILENAME\n"
     "  -U, --force-share          open FILENAME though another process writes to it\n"
     "      --output human|json    how to print the result\n"
     "      --image-opts            the image is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         an object that others name: secret,id=...\n",
     ""},
};

}  // namespace

const CommandHelp* find_command_help(const std::string& command) {
  for (const CommandHelp& help : kHelp) {
    if (command == help.name) return &help;
  }
  return nullptr;
}

}  // namespace byre::cli
