// SPDX-License-Identifier: Apache-2.0
#include "open/driver.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "open/image_name.h"

namespace byre::open {

namespace {

constexpr std::array kDrivers{&kFileDriver,       &kHostDeviceDriver, &kRawDriver,
                              &kQcow2Driver,      &kNullDriver,       &kBlkdebugDriver,
                              &kCopyOnReadDriver, &kCompressDriver};

bool is_device_of_host(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return false;
  return S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
}

}  // namespace

std::span<const Driver* const> drivers() {
  return kDrivers;
}

const Driver& driver_named(const std::string& name) {
  const auto found =
      std::ranges::find_if(kDrivers, [&](const Driver* driver) { return driver->name == name; });
  if (found != kDrivers.end()) return **found;
  std::string known;
  for (const Driver* driver : kDrivers)
    known += std::string(known.empty() ? "" : ", ") + driver->name;
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown driver '{}'", name),
              "byre knows the drivers " + known);
}

const Driver& driver_of_filename(const std::string& filename, bool has_protocol) {
  const std::optional<std::string_view> protocol =
      has_protocol ? protocol_of(filename) : std::nullopt;
  if (!protocol) return is_device_of_host(filename) ? kHostDeviceDriver : kFileDriver;
  const auto found = std::ranges::find_if(kDrivers, [&](const Driver* driver) {
    return driver->is_protocol && driver->name == *protocol;
  });
  if (found != kDrivers.end()) return **found;
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown protocol '{}'", *protocol),
              "a file whose name has a ':' is opened as './name'");
}

}  // namespace byre::open
