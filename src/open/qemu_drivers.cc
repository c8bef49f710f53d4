// SPDX-License-Identifier: Apache-2.0
#include "open/qemu_drivers.h"

#include <algorithm>
#include <iterator>

namespace byre::open {

bool is_driver_of_qemu(std::string_view name) {
  static constexpr std::string_view kNames[] = {"blkdebug",
                                                "blklogwrites",
                                                "blkreplay",
                                                "blkverify",
                                                "bochs",
                                                "cloop",
                                                "compress",
                                                "copy-before-write",
                                                "copy-on-read",
                                                "dmg",
                                                "file",
                                                "ftp",
                                                "ftps",
                                                "gluster",
                                                "host_cdrom",
                                                "host_device",
                                                "http",
                                                "https",
                                                "io_uring",
                                                "iscsi",
                                                "luks",
                                                "nbd",
                                                "nfs",
                                                "null-aio",
                                                "null-co",
                                                "nvme",
                                                "nvme-io_uring",
                                                "parallels",
                                                "preallocate",
                                                "qcow",
                                                "qcow2",
                                                "qed",
                                                "quorum",
                                                "raw",
                                                "rbd",
                                                "replication",
                                                "snapshot-access",
                                                "ssh",
                                                "throttle",
                                                "vdi",
                                                "vhdx",
                                                "virtio-blk-vfio-pci",
                                                "virtio-blk-vhost-user",
                                                "virtio-blk-vhost-vdpa",
                                                "vmdk",
                                                "vpc",
                                                "vvfat"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace byre::open
