// SPDX-License-Identifier: Apache-2.0
#include "jobs/file_identities.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "async/loop.h"
#include "byre/error.h"
#include "jobs/create.h"
#include "open/open.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

Task<std::set<FileIdentity>> files_of(std::string path) {
  const open::ImageOptions options;
  const std::unique_ptr<BlockDevice> image = co_await open::open_image(path, options);
  const std::set<FileIdentity> files = files_below(*image);
  co_await image->close();
  co_return files;
}

TEST(FileIdentities, AFileIsTheSameUnderEachOfItsNames) {
  const test::TemporaryFolder folder;
  folder.make("file", {1});
  std::filesystem::create_symlink("file", folder.file("link"));
  std::filesystem::create_hard_link(folder.file("file"), folder.file("hard"));
  const auto identity = identity_of(folder.file("file"));
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity_of(folder.file("link")), identity);
  EXPECT_EQ(identity_of(folder.file("hard")), identity);
  EXPECT_EQ(identity_of("file:" + folder.file("file")), identity);
  EXPECT_EQ(identity_of(folder.file("gone")), std::nullopt);
}

TEST(FileIdentities, TheFilesOfAWholeChainAreNoTargets) {
  const test::TemporaryFolder folder;
  NewImage base{folder.file("base"), open::CreationOptions("qcow2")};
  base.options.set_size(1 << 20);
  base.options.set("data_file", folder.file("data"));
  sync_wait(create_image(base));
  NewImage over{folder.file("over"), open::CreationOptions("qcow2")};
  over.options.set_size(1 << 20);
  over.options.set("backing_file", "base");
  over.options.set("backing_fmt", "qcow2");
  sync_wait(create_image(over));
  folder.make("other", {});
  const std::set<FileIdentity> files = sync_wait(files_of(folder.file("over")));
  EXPECT_EQ(files.size(), 3u);
  for (const char* name : {"base", "over", "data"}) {
    EXPECT_THROW(refuse_as_target(folder.file(name), files), Error) << name;
  }
  refuse_as_target(folder.file("other"), files);
  refuse_as_target(folder.file("gone"), files);
}

}  // namespace
}  // namespace byre::jobs
