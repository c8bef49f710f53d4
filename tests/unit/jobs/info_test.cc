// SPDX-License-Identifier: Apache-2.0
#include "jobs/info.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "async/loop.h"
#include "byre/error.h"
#include "jobs/create.h"
#include "unit/qcow2/image_builder.h"

namespace byre::jobs {
namespace {

class Info : public testing::Test {
 protected:
  Info() {
    char name[] = "/tmp/byre-info-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Info() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void make(const std::string& name, const std::string& backing, const std::string& format) {
    NewImage image{path(name), open::CreationOptions("qcow2")};
    image.options.set_size(1 << 20);
    if (!backing.empty()) {
      image.options.set("backing_file", backing);
      image.options.set("backing_fmt", format);
    }
    Loop loop;
    loop.run(create_image(std::move(image)));
  }

  // "image"; its data file, if it has one, is "gone".
  void make_with_snapshot(const qcow2::layout::Snapshot& snapshot, bool has_data_file) const {
    qcow2::test::ImageBuilder builder({.external_data_file = has_data_file});
    builder.first_cluster.extensions.data_file_name = "gone";
    const qcow2::layout::HostOffset table = builder.take_clusters(1);
    builder.file().put(table.value(), qcow2::layout::encode_snapshot_table({snapshot}));
    builder.first_cluster.header.snapshots_offset = table;
    builder.first_cluster.header.snapshot_count = 1;
    const auto file = builder.finish();
    const std::vector<uint8_t> bytes = file->get(0, file->size());
    std::ofstream(path("image"), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

  ImageInfo info(const std::string& name) {
    Loop loop;
    return loop.run(image_info(path(name), {}));
  }

  std::vector<ImageInfo> chain(const std::string& name) {
    Loop loop;
    return loop.run(chain_info(path(name), {}));
  }

  std::string refusal(const std::string& name) {
    try {
      chain(name);
    } catch (const Error& error) {
      return error.message();
    }
    return "shown";
  }

  std::string folder_;
};

TEST_F(Info, ARawImageIsShownInWholeSectors) {
  std::ofstream(path("raw")) << "x";
  const ImageInfo raw = info("raw");
  EXPECT_EQ(raw.format, "raw");
  EXPECT_EQ(raw.size, 512u);
  ASSERT_EQ(raw.children.size(), 1u);
  EXPECT_EQ(raw.children[0].name, "file");
  EXPECT_EQ(raw.children[0].info.format, "file");
  EXPECT_EQ(raw.children[0].info.size, 512u);
  EXPECT_FALSE(raw.qcow2.has_value());
}

TEST_F(Info, AQcow2ImageIsShownWithItsFile) {
  make("a", "", "");
  const ImageInfo image = info("a");
  EXPECT_EQ(image.format, "qcow2");
  EXPECT_EQ(image.size, 1u << 20);
  ASSERT_EQ(image.children.size(), 1u);
  EXPECT_EQ(image.children[0].info.filename, path("a"));
  EXPECT_GT(image.children[0].info.size, 0u);
  ASSERT_TRUE(image.qcow2.has_value());
  EXPECT_EQ(image.qcow2->version, 3u);
  EXPECT_EQ(image.cluster_size, 65536u);
  EXPECT_EQ(image.is_dirty, false);
  EXPECT_EQ(image.qcow2->vm_state_offset, uint64_t{512} << 20);
  EXPECT_EQ(image.qcow2->backing_filename, "");
}

TEST_F(Info, SnapshotsOfAnImageWithADataFileAreNotListed) {
  for (const bool has_data_file : {false, true}) {
    qcow2::layout::Snapshot snapshot;
    snapshot.id = "1";
    make_with_snapshot(snapshot, has_data_file);
    const ImageInfo image = info("image");
    EXPECT_EQ(image.qcow2->has_data_file, has_data_file);
    EXPECT_EQ(image.qcow2->snapshots.size(), has_data_file ? 0u : 1u);
    EXPECT_EQ(image.qcow2->data_filename, "gone");
  }
}

TEST_F(Info, TheNumberOfInstructionsIsSignedAndAllOnesAreNone) {
  const auto shown = [this](std::optional<uint64_t> icount) {
    qcow2::layout::Snapshot snapshot;
    snapshot.id = "1";
    snapshot.disk_size = 1 << 20;
    snapshot.icount = icount;
    make_with_snapshot(snapshot, false);
    return info("image").qcow2->snapshots.at(0).instruction_count;
  };
  EXPECT_EQ(shown(std::nullopt), std::nullopt);
  EXPECT_EQ(shown(UINT64_MAX), std::nullopt);
  EXPECT_EQ(shown(0), 0);
  EXPECT_EQ(shown(uint64_t{1} << 63), INT64_MIN);
}

TEST_F(Info, TheChainIsFollowedByNamesThatCountFromEachImage) {
  std::filesystem::create_directory(path("sub"));
  std::ofstream(path("base")) << std::string(1024, 'x');
  make("mid", "base", "raw");
  make("sub/top", "../mid", "qcow2");
  const std::vector<ImageInfo> images = chain("sub/top");
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].qcow2->backing_path, path("sub/../mid"));
  EXPECT_EQ(images[1].filename, path("sub/../mid"));
  EXPECT_EQ(images[2].filename, path("sub/../base"));
  EXPECT_EQ(images[2].format, "raw");
}

TEST_F(Info, ABackingFileThatIsGoneHindersOnlyTheChain) {
  make("top", "gone", "qcow2");
  EXPECT_EQ(info("top").qcow2->backing_filename, "gone");
  EXPECT_EQ(refusal("top"), "Could not open '" + path("gone") + "': Could not open '" +
                                path("gone") + "': No such file or directory");
}

TEST_F(Info, AChainThatComesBackIsFoundByWhateverName) {
  make("self", "self", "qcow2");
  EXPECT_EQ(refusal("self"), "the backing file '" + path("self") + "' is in its own backing chain");
  make("a", "./b", "qcow2");
  make("b", "./a", "qcow2");
  EXPECT_EQ(refusal("a"), "the backing file '" + path("././a") + "' is in its own backing chain");
}

}  // namespace
}  // namespace byre::jobs
