// SPDX-License-Identifier: Apache-2.0
#include "cli/command_help.h"

namespace byre::cli {
namespace {

constexpr CommandHelp kHelp[] = {
    {"amend", "[-f FMT] [-t CACHE] [--force] [-p] [-q] -o OPTIONS FILENAME",
     "  -h, --help            show this help and exit\n"
     "  -q, --quiet           print errors only\n"
     "  -p, --progress        show progress\n"
     "  -f, --format FMT      format of FILENAME; default: detected from its first bytes\n"
     "  -t, --cache CACHE     cache mode: writeback (default), none, directsync, writethrough,\n"
     "                        unsafe\n"
     "  -o, --options OPTIONS properties that FILENAME is to get, name=value,...; \"-o help\" "
     "lists\n"
     "                        them\n"
     "      --force                 remove bitmaps if compat=v2 is wanted\n"
     "      --image-opts            FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         define an object that options refer to: secret,id=...\n"
     "\n"
     "Nothing is changed if one of OPTIONS is refused. Can be stopped and run again at any\n"
     "time.\n",
     ""},
    {"bench",
     "[-f FMT] [-t CACHE] [-c COUNT] [-d DEPTH] [-s SIZE] [-o OFFSET] [-S STEP] [-i AIO]\n"
     "       [-n] [-U] [-w [--pattern BYTE] [--flush-interval COUNT [--no-drain]]] FILENAME",
     "  -h, --help                    show this help and exit\n"
     "  -f, --format FMT              format of FILENAME; default: detected from its first bytes\n"
     "  -t, --cache CACHE             cache mode: writeback (default), none, directsync,\n"
     "                                writethrough, unsafe\n"
     "  -c, --count COUNT             number of requests; default: 75000\n"
     "  -d, --depth DEPTH             requests in flight; default: 64\n"
     "  -s, --buffer-size SIZE        length of a request; default: 4k\n"
     "  -o, --offset OFFSET           where the first request is; default: 0\n"
     "  -S, --step-size STEP          from one request to the next; default: SIZE\n"
     "  -w, --write                   write; default: read\n"
     "      --pattern BYTE            what is written; default: 0\n"
     "      --flush-interval COUNT    flush after that many requests; not less than DEPTH\n"
     "      --no-drain                send requests while a flush runs\n"
     "  -i, --aio AIO                 threads, io_uring, native\n"
     "  -n, --native                  the same as -i native, which requires -t none or directsync\n"
     "  -U, --force-share             open it even if another process is writing to it\n"
     "      --image-opts            FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n",
     "\nOnly byre:\n"
     "      --output human|json       json: rates, and percentiles of latency in microseconds\n"},
    {"check", "[-f FMT] [-r leaks|all] [-T CACHE] [-U] [-q] [--output human|json] FILENAME",
     "  -h, --help                show this help and exit\n"
     "  -q, --quiet               print errors only\n"
     "  -f, --format FMT          format of FILENAME; default: detected from its first bytes\n"
     "  -T, --cache CACHE         cache mode of FILENAME: writeback (default), none, directsync,\n"
     "                            writethrough, unsafe\n"
     "  -U, --force-share         open it even if another process is writing to it\n"
     "      --output human|json   output format\n"
     "  -r, --repair leaks|all    free space that nothing refers to, or repair everything\n"
     "                            that can be repaired without losing anything\n"
     "      --image-opts          FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF       define an object that options refer to: secret,id=...\n",
     "\nExtensions:\n"
     "      --drop-unreadable     with -r all: give up what cannot be read: references past\n"
     "                            the end of the file, snapshots whose entry or L1 table is\n"
     "                            broken\n"},
    {"commit", "[-f FMT] [-t CACHE] [-b BASE] [-d] [-r RATE] [-p] [-q] FILENAME",
     "  -h, --help            show this help and exit\n"
     "  -q, --quiet           print errors only\n"
     "  -p, --progress        show progress\n"
     "  -f, --format FMT      format of FILENAME; default: detected from its first bytes\n"
     "  -t, --cache CACHE     cache mode: writeback (default), none, directsync, writethrough,\n"
     "                        unsafe\n"
     "  -b, --base BASE       copy into this image of the backing chain, not into the backing\n"
     "                        file; the images between become invalid; implies -d\n"
     "  -d, --drop            do not empty FILENAME afterwards\n"
     "  -r, --rate RATE       maximum number of bytes per second\n"
     "      --image-opts            FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         define an object that options refer to: secret,id=...\n"
     "\n"
     "Copies what FILENAME has into its backing file, and then empties FILENAME. Can be\n"
     "stopped and run again at any time.\n",
     ""},
    {"compare", "[-f FMT] [-F FMT] [-T CACHE] [-s] [-p] [-q] [-U] FILENAME1 FILENAME2",
     "  -h, --help            show this help and exit\n"
     "  -q, --quiet           print nothing; only set the exit code\n"
     "  -p, --progress        show progress\n"
     "  -f, --a-format FMT    format of FILENAME1\n"
     "  -F, --b-format FMT    format of FILENAME2\n"
     "  -s, --strict          images also differ if their size or allocation differs\n"
     "  -T, --cache CACHE     cache mode of both\n"
     "  -U, --force-share     open them even if another process is writing to them\n"
     "      --image-opts      the images are lists of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF   define an object that options refer to: secret,id=...\n"
     "\n"
     "Exit code: 0 identical, 1 different, 2 an image cannot be opened, 3 its allocation cannot "
     "be\n"
     "read, 4 its data cannot be read.\n",
     ""},
    {"convert",
     "[-f FMT] [-O FMT] [-o OPTIONS] [-c] [-p] [-q] [-n] [-t CACHE] [-T CACHE]\n"
     "       [-B BACKING [-F FMT]] [-l SNAPSHOT] [-S SIZE] [-m COUNT] [-r RATE] [-U] [-C] [-W]\n"
     "       [--target-is-zero] [--salvage] FILENAME [FILENAME2 ...] TARGET",
     "  -h, --help                        show this help and exit\n"
     "  -q, --quiet                       print errors only\n"
     "  -p                                show progress\n"
     "  -f, --source-format FMT           format of the sources\n"
     "  -O, --output-format FMT           format of TARGET; default: raw\n"
     "  -o, --options OPTIONS             options of TARGET; `-o help` lists them\n"
     "  -c                                compress the data (qcow2)\n"
     "  -B, --backing FILENAME            TARGET stores only what differs from this image\n"
     "  -F, --backing-format FMT          format of the backing image\n"
     "  -l, --snapshot SNAPSHOT           copy this snapshot: its id or name, or\n"
     "                                    snapshot.id=ID,snapshot.name=NAME\n"
     "  -n                                TARGET already exists; do not create it\n"
     "      --target-is-zero              TARGET reads as zeroes; requires -n\n"
     "  -S, --sparse-size SIZE            zeroes of this length become holes; default: 4k;\n"
     "                                    0: no holes\n"
     "  -t, --output-cache CACHE          cache mode of TARGET; default: unsafe\n"
     "  -T, --source-cache CACHE          cache mode of the sources; default: writeback\n"
     "  -m, --parallel COUNT              requests in flight, 1 to 16; default: 8\n"
     "  -r, --rate RATE                   maximum number of bytes per second\n"
     "  -W, --oob-writes                  write in any order\n"
     "  -C, --copy-range-offloading       let the host copy the data\n"
     "      --salvage                     read unreadable parts of a source as zeroes\n"
     "  -U, --force-share                 open the sources even if another process is\n"
     "                                    writing to them\n"
     "      --image-opts                  the sources are lists of options (also\n"
     "                                    --source-image-opts)\n"
     "      --target-image-opts           TARGET is a list of options; requires -n\n"
     "      --object OBJDEF               define an object that options refer to: secret,id=...\n"
     "      --bitmaps, --skip-broken-bitmaps\n"
     "                                    not implemented yet\n",
     "\nExtensions:\n"
     "      --compress-level LEVEL        1 (fastest) to 9 (smallest), see\n"
     "                                    compression.md in share/doc/byre\n"
     "      --snapshots                   copy all snapshots of a qcow2 image as well, with\n"
     "                                    their VM state; TARGET must be a new qcow2 image\n"
     "      --progress=json               progress as JSON lines on standard error\n"
     "      - as FILENAME or TARGET       standard input, standard output\n"},
    {"create", "[-f FMT] [-o OPTIONS] [-b BACKING [-F FMT]] [-u] [-q] FILENAME [SIZE]",
     "  -h, --help                  show this help and exit\n"
     "  -q, --quiet                 print errors only\n"
     "  -f, --format FMT            format of the new image; default: raw\n"
     "  -o, --options OPTIONS       options of the format; `-o help` lists them\n"
     "  -b, --backing FILENAME      the new image stores only what differs from this one\n"
     "  -F, --backing-format FMT    format of the backing image\n"
     "  -u, --backing-unsafe        do not open the backing image; SIZE must be given\n"
     "      --object OBJDEF         define an object that options refer to: secret,id=...\n"
     "\n"
     "SIZE is in bytes, or has a suffix: k M G T P E (powers of 1024). With -b and without\n"
     "SIZE the new image has the size of the backing image. An existing FILENAME is overwritten.\n",
     ""},
    {"dd", "[-f FMT] [-O FMT] [-U] [bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=FILENAME of=TARGET",
     "  -h, --help                 show this help and exit\n"
     "  -f, --format FMT           format of the input\n"
     "  -O, --output-format FMT    format of the output; default: raw\n"
     "  -U, --force-share          open the input even if another process is writing to it\n"
     "      bs=SIZE                size of a block; default: 512\n"
     "      count=BLOCKS           number of blocks to copy; default: all\n"
     "      skip=BLOCKS            number of blocks to skip at the start of the input\n"
     "      if=FILENAME            the image to read\n"
     "      of=TARGET              the image to create\n"
     "      --image-opts           the input is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF        define an object that options refer to: secret,id=...\n",
     ""},
    {"info", "[-f FMT] [--backing-chain] [-U] [--output human|json] FILENAME",
     "  -h, --help                show this help and exit\n"
     "  -f, --format FMT          format of FILENAME; default: detected from its first bytes\n"
     "  -b, --backing-chain       also show the images of its backing chain\n"
     "  -U, --force-share         open it even if another process is writing to it\n"
     "      --output human|json   output format\n"
     "      --image-opts          FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF       define an object that options refer to: secret,id=...\n",
     ""},
    {"map",
     "[-f FMT] [--start-offset OFFSET] [--max-length LENGTH] [-U] [--output human|json] FILENAME",
     "  -h, --help                   show this help and exit\n"
     "  -f, --format FMT             format of FILENAME; default: detected from its first bytes\n"
     "  -s, --start-offset OFFSET    start at this offset\n"
     "  -l, --max-length LENGTH      show no more than this many bytes\n"
     "  -U, --force-share            open it even if another process is writing to it\n"
     "      --output human|json      output format\n"
     "      --image-opts             FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF          define an object that options refer to: secret,id=...\n",
     ""},
    {"measure",
     "[-O FMT] [-o OPTIONS] [-f FMT] [-l SNAPSHOT] [-U] [--output human|json]\n"
     "       (--size SIZE | FILENAME)",
     "  -h, --help                 show this help and exit\n"
     "  -O, --target-format FMT    format of the new image; default: raw\n"
     "  -o, --options OPTIONS      options of that format; `-o help` lists them\n"
     "      --size SIZE            size of the new image, which would be empty\n"
     "  -f, --format FMT           format of FILENAME\n"
     "  -l, --snapshot SNAPSHOT    measure this snapshot of FILENAME\n"
     "  -U, --force-share          open FILENAME even if another process is writing to it\n"
     "      --output human|json    output format\n"
     "      --image-opts           FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF        define an object that options refer to: secret,id=...\n",
     ""},
    {"rebase",
     "[-f FMT] [-t CACHE] [-b BACKING [-F FMT] [-T CACHE]] [-u] [-c] [-p] [-q] [-U] FILENAME",
     "  -h, --help                  show this help and exit\n"
     "  -q, --quiet                 print errors only\n"
     "  -p, --progress              show progress\n"
     "  -f, --format FMT            format of FILENAME; default: detected from its first bytes\n"
     "  -t, --cache CACHE           cache mode of FILENAME: writeback (default), none, "
     "directsync,\n"
     "                              writethrough, unsafe\n"
     "  -b, --backing BACKING       the new backing file; an empty name: none\n"
     "  -F, --backing-format FMT    its format\n"
     "  -T, --backing-cache CACHE   its cache mode\n"
     "  -u, --backing-unsafe        only change the name in FILENAME, and open no backing file\n"
     "  -c, --compress              compress what is copied\n"
     "  -U, --force-share           open BACKING even if another process is writing to it\n"
     "      --image-opts            FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         define an object that options refer to: secret,id=...\n"
     "\n"
     "Gives FILENAME another backing file, and copies what the disk would read differently, so\n"
     "that it reads the same before, during and after. Can be stopped and run again at any\n"
     "time. Internal snapshots are not rebased.\n",
     ""},
    {"resize", "[-f FMT] [--preallocation MODE] [--shrink] [-q] FILENAME [+|-]SIZE",
     "  -h, --help                  show this help and exit\n"
     "  -q, --quiet                 print errors only\n"
     "  -f, --format FMT            format of FILENAME; default: detected from its first bytes\n"
     "      --shrink                allow a smaller size: the data past it is deleted\n"
     "      --preallocation MODE    allocate the new bytes: off (default), metadata, falloc, full\n"
     "      --image-opts            FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF         define an object that options refer to: secret,id=...\n"
     "\n"
     "SIZE is the new size of the disk, or, after + or -, what it grows or shrinks by: in bytes,\n"
     "or with a suffix: k M G T P E (powers of 1024).\n",
     ""},
    {"snapshot", "[-f FMT] [-l | -c SNAPSHOT | -a SNAPSHOT | -d SNAPSHOT] [-U] [-q] FILENAME",
     "  -h, --help                show this help and exit\n"
     "  -q, --quiet               print errors only\n"
     "  -f, --format FMT          format of FILENAME; default: detected from its first bytes\n"
     "  -U, --force-share         open it even if another process is writing to it; only with -l\n"
     "  -l, --list                list the snapshots (default)\n"
     "  -c, --create SNAPSHOT     create a snapshot of this name\n"
     "  -a, --apply SNAPSHOT      set the disk back to this snapshot, an id or a name; what was\n"
     "                            written since is lost\n"
     "  -d, --delete SNAPSHOT     delete the first snapshot of this name\n"
     "      --image-opts          FILENAME is a list of options: "
     "driver=qcow2,file.filename=...\n"
     "      --object OBJDEF       define an object that options refer to: secret,id=...\n",
     "\nExtensions:\n"
     "      --output human|json   output format of -l; json tells how many bytes of the file only\n"
     "                            that snapshot uses\n"
     "      -c SNAPSHOT FILENAME FILENAME2 ...\n"
     "                            create it in all of these images, or in none\n"},
};

}  // namespace

const CommandHelp* find_command_help(const std::string& command) {
  for (const CommandHelp& help : kHelp) {
    if (command == help.name) return &help;
  }
  return nullptr;
}

}  // namespace byre::cli
