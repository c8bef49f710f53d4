// SPDX-License-Identifier: Apache-2.0
#include "jobs/info.h"
#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/info_text.h"
#include "cli/messages.h"
#include "cli/options.h"

namespace byre::cli {
namespace {

constexpr int kOutput = kLongOnly + 1;

struct InfoArguments {
  std::string filename;
  open::ImageOptions image;
  bool image_opts = false;
  bool whole_chain = false;
  OutputFormat output = OutputFormat::kHuman;
};

InfoArguments read_arguments(Invocation& invocation) {
  InfoArguments arguments;
  arguments.image = image_options(invocation);
  OptionReader reader(invocation, "hf:bU",
                      {{"help", 'h'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"backing-chain", 'b'},
                       {"force-share", 'U'},
                       {"output", kOutput, true},
                       {"object", kObject, true}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.image.format = reader.argument();
        break;
      case 'b':
        arguments.whole_chain = true;
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case 'U':
        arguments.image.force_share = true;
        break;
      case kOutput:
        arguments.output = parse_output_format(reader.argument());
        break;
      default:
        break;
    }
  }
  arguments.filename = reader.only_name();
  return arguments;
}

std::string to_text(const std::vector<jobs::ImageInfo>& chain, const InfoArguments& arguments) {
  if (arguments.output == OutputFormat::kHuman) {
    std::string text;
    for (const jobs::ImageInfo& info : chain) {
      if (!text.empty()) text += '\n';
      text += info_to_human_text(info);
    }
    return text;
  }
  if (!arguments.whole_chain) return info_to_json(chain.front()).to_text() + "\n";
  JsonText images = JsonText::array();
  for (const jobs::ImageInfo& info : chain) images.add(info_to_json(info));
  return images.to_text() + "\n";
}

}  // namespace

int run_info(Invocation& invocation) {
  InfoArguments arguments = read_arguments(invocation);
  if (arguments.image_opts) set_image_opts(invocation, arguments.filename, arguments.image);
  Loop loop;
  std::vector<jobs::ImageInfo> chain;
  if (arguments.whole_chain) {
    chain = loop.run(jobs::chain_info(arguments.filename, arguments.image));
  } else {
    chain.push_back(loop.run(jobs::image_info(arguments.filename, arguments.image)));
  }
  print(to_text(chain, arguments));
  return 0;
}

}  // namespace byre::cli
