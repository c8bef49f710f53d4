// SPDX-License-Identifier: Apache-2.0
#include "open/format_probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace byre::open {
namespace {

std::string probe(std::string_view bytes, size_t offset = 0) {
  std::vector<uint8_t> sector(kProbeSize);
  std::ranges::copy(bytes, sector.begin() + static_cast<ptrdiff_t>(offset));
  return probe_format(sector);
}

using namespace std::string_view_literals;

TEST(FormatProbe, KnowsQcow2ByMagicAndVersion) {
  EXPECT_EQ(probe("QFI\xfb\0\0\0\2"sv), "qcow2");
  EXPECT_EQ(probe("QFI\xfb\0\0\0\3"sv), "qcow2");
  EXPECT_EQ(probe("QFI\xfb\0\0\0\7"sv), "qcow2");
  EXPECT_EQ(probe("QFI\xfb\0\0\0\1"sv), "qcow");
  EXPECT_EQ(probe("QFI\xfb"sv), "raw");
  EXPECT_EQ(probe("QFI\xfc\0\0\0\3"sv), "raw");
}

TEST(FormatProbe, KnowsForeignFormatsSoThatTheyAreNotTakenForRaw) {
  EXPECT_EQ(probe("KDMV\0\0\0\1"sv), "vmdk");
  EXPECT_EQ(probe("# Disk DescriptorFile\nversion=1"sv), "vmdk");
  EXPECT_EQ(probe("\x7f\x10\xda\xbe"sv, 64), "vdi");
  EXPECT_EQ(probe("conectix"sv), "vpc");
  EXPECT_EQ(probe("vhdxfile"sv), "vhdx");
  EXPECT_EQ(probe("QED\0"sv), "qed");
  EXPECT_EQ(probe("LUKS\xba\xbe\0\1"sv), "luks");
  EXPECT_EQ(probe("WithoutFreeSpace"sv), "parallels");
}

TEST(FormatProbe, KnowsAVmdkDescriptorByItsVersionAfterCommentsAndBlankLines) {
  for (const char* text :
       {"version=1\n", "version=3\r\n", "#a\nversion=1\n", "# Disk DescriptorFile\r\nversion=2\r\n",
        "#\n#\n   \n \r\nversion=1\nCID=0\n"}) {
    EXPECT_EQ(probe(text), "vmdk") << text;
  }
  for (const char* text :
       {"version=4\n", "version=1", "version=1 \n", "#a\n", "#a", "\nversion=1\n", " version=1\n",
        "  \r", "# comment\nfile=1\n", "versions=1\n"}) {
    EXPECT_EQ(probe(text), "raw") << text;
  }
}

TEST(FormatProbe, KnowsADiskImageOfMacOsByItsName) {
  const std::vector<uint8_t> sector(kProbeSize);
  EXPECT_EQ(probe_format(sector, "/disks/x.dmg"), "dmg");
  EXPECT_EQ(probe_format(sector, "x.dmg.raw"), "raw");
  EXPECT_EQ(probe_format(sector, ".dmg"), "raw");
  EXPECT_EQ(probe_format(sector, "x.DMG"), "raw");
  std::vector<uint8_t> qcow2(kProbeSize);
  std::ranges::copy("QFI\xfb\0\0\0\3"sv, qcow2.begin());
  EXPECT_EQ(probe_format(qcow2, "x.dmg"), "qcow2");
}

TEST(FormatProbe, EverythingElseIsRaw) {
  EXPECT_EQ(probe(""sv), "raw");
  EXPECT_EQ(probe("hello"sv), "raw");
  EXPECT_EQ(probe_format({}), "raw");
  const uint8_t few[] = {'Q', 'F', 'I', 0xfb};
  EXPECT_EQ(probe_format(few), "raw");
}

}  // namespace
}  // namespace byre::open
