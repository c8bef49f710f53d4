// SPDX-License-Identifier: Apache-2.0
// The drivers "file", "host_device" and "host_cdrom".
#include <fmt/format.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/json_string.h"
#include "open/host_driver.h"
#include "open/image_name.h"
#include "open/invalid_argument.h"
#include "open/locks.h"
#include "open/option_value.h"

namespace byre::open {

namespace {

// What remains is the name of a file; "./" is prepended if it could be mistaken for a name with a
// protocol again.
void strip_prefix(const std::string& filename, std::string_view prefix, OptionTree& options) {
  std::string path = filename;
  if (filename.starts_with(prefix)) {
    path = filename.substr(prefix.size());
    if (protocol_of(path)) path = "./" + path;
  }
  options.set("filename", std::move(path));
}

void parse_file_name(const std::string& filename, OptionTree& options) {
  strip_prefix(filename, "file:", options);
}
void parse_host_device_name(const std::string& filename, OptionTree& options) {
  strip_prefix(filename, "host_device:", options);
}
void parse_host_cdrom_name(const std::string& filename, OptionTree& options) {
  strip_prefix(filename, "host_cdrom:", options);
}

void take_aio(OptionTree& options, bool is_direct, storage::IoBackend& io) {
  const auto aio = options.take_text("aio");
  if (!aio) return;
  if (*aio == "threads") {
    io = storage::IoBackend::kThreads;
  } else if (*aio == "io_uring") {
    io = storage::IoBackend::kUring;
  } else if (*aio != "native") {
    refuse_value(*aio);
  } else if (!is_direct) {
    throw invalid_argument(
        "aio=native was specified, but it requires cache.direct=on, which was not specified.");
  }
}

// Options about how QEMU does things that byre does differently: their values are only validated.
void take_idle_options(OptionTree& options) {
  take_number(options, "aio-max-batch");
  take_bool(options, "drop-cache");
  take_bool(options, "x-check-cache-dropped");
  const auto manager = options.take_text("pr-manager");
  if (manager) {
    throw Error(ErrorKind::kNotFound, ENOENT,
                fmt::format("No persistent reservation manager with id '{}'", *manager));
  }
}

// A device that was set read-only is not one of these, as in QEMU.
bool may_be_read_only(const Error& error) {
  const int number = error.errno_value();
  return (number == EACCES || number == EROFS || number == EPERM) &&
         error.data().code == "file-not-opened";
}

Task<std::unique_ptr<storage::FileDevice>> open_file(std::string filename,
                                                     storage::FileOptions options,
                                                     bool auto_read_only) {
  std::optional<Error> failure;
  try {
    co_return co_await storage::FileDevice::open(filename, options);
  } catch (const Error& error) {
    failure = error;
  }
  if (!options.writable || !auto_read_only || !may_be_read_only(*failure)) throw *failure;
  options.writable = false;
  co_return co_await storage::FileDevice::open(std::move(filename), std::move(options));
}

Task<Node> open_with_driver(Chain& chain, NodeRequest& request) {
  const std::string filename = request.options.take_text("filename").value_or("");
  request.description.emplace_back("filename", json_string(filename));
  storage::FileOptions options;
  options.driver = host_driver(*request.driver);
  options.writable = request.flags.writable;
  options.cache = request.flags.cache_mode();
  options.io = request.image.io;
  options.force_share = request.flags.force_share;
  // Formats lock their file once they know its type.
  options.lock = request.role == Role::kFile ? kLockNothing : raw_lock(request);
  take_aio(request.options, request.flags.direct, options.io);
  take_idle_options(request.options);
  const auto locking = request.options.take_text("locking");
  if (locking && *locking != "on" && *locking != "off" && *locking != "auto") {
    refuse_value(*locking);
  }
  options.requires_locks = locking == "on";
  if (locking == "off") options.force_share = true;
  Node node;
  std::unique_ptr<storage::FileDevice> file =
      co_await open_file(filename, options, request.flags.auto_read_only);
  chain.add_file(*file, request.role);
  node.device = std::move(file);
  node.description = request.description_text();
  node.names_parent = true;
  co_return node;
}

}  // namespace

std::optional<storage::HostDriver> host_driver(const Driver& driver) {
  if (&driver == &kFileDriver) return storage::HostDriver::kFile;
  if (&driver == &kHostDeviceDriver) return storage::HostDriver::kHostDevice;
  if (&driver == &kHostCdromDriver) return storage::HostDriver::kHostCdrom;
  return std::nullopt;
}

const Driver kFileDriver{.name = "file",
                         .is_protocol = true,
                         .needs_filename = true,
                         .parse_filename = parse_file_name,
                         .open = open_with_driver};

const Driver kHostDeviceDriver{.name = "host_device",
                               .is_protocol = true,
                               .needs_filename = true,
                               .parse_filename = parse_host_device_name,
                               .open = open_with_driver};

const Driver kHostCdromDriver{.name = "host_cdrom",
                              .is_protocol = true,
                              .needs_filename = true,
                              .parse_filename = parse_host_cdrom_name,
                              .open = open_with_driver};

}  // namespace byre::open
