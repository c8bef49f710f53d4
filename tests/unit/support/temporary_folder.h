// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace byre::test {

// A directory next to the test program that is removed with its contents: on a real file system,
// whereas TMPDIR may be in memory, and in the build directory, in case a test crashes and leaves it
// behind.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
    std::string name = (program.parent_path() / "byre-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder for tests: " + name);
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string make(const std::string& name, const std::vector<uint8_t>& contents) const {
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(contents.data()),
              static_cast<std::streamsize>(contents.size()));
    return file(name);
  }
  std::vector<uint8_t> contents(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

 private:
  std::filesystem::path path_;
};

}  // namespace byre::test
