// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "unit/qcow2/image_builder.h"
#include "unit/support/temporary_folder.h"

namespace byre::open {

// Tests of images in a directory of their own. They run inside it, so that names are short.
class ImageFolderTest : public testing::Test {
 protected:
  ImageFolderTest() : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(folder_.file("."));
  }
  ~ImageFolderTest() override { std::filesystem::current_path(before_); }

  void put(const std::string& name, qcow2::test::ImageBuilder& builder) {
    const auto file = builder.finish();
    folder_.make(name, file->get(0, file->size()));
  }
  // An overlay without data.
  void put_overlay(const std::string& name, const std::string& backing, const std::string& format) {
    qcow2::test::ImageBuilder builder({.backing_filename = backing});
    if (!format.empty()) builder.first_cluster.extensions.backing_format = format;
    put(name, builder);
  }

  test::TemporaryFolder folder_;

 private:
  std::filesystem::path before_;
};

}  // namespace byre::open
