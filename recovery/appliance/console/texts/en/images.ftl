# Golden images and their channels.
tab-images = Images
images-none = No golden image is in the store. Import one on the appliance:
image-title = Image { $name } { $version }
image-unreadable = A manifest that cannot be read
image-trusted = trusted
image-not-trusted = not trusted
stage-of-candidate = candidate
stage-of-approved = approved
stage-of-retired = retired
image-version = Version
image-epoch = Epoch
image-state = State
image-used = Where it is used
image-unused = by no blueprint now
image-follow =
    { $n ->
        [one] { $n } endpoint
       *[other] { $n } endpoints
    }
image-runs =
    { $n ->
        [one] { $n } endpoint was recovered to it last.
       *[other] { $n } endpoints were recovered to it last.
    }
image-jobs = Jobs of this image
image-digest = Digest of its manifest
image-data = Data on it
image-made = Made at
image-hardware = For hardware
image-note = What its maker wrote
image-signatures =
    { $n ->
        [one] Who signed it ({ $n } signature)
       *[other] Who signed it ({ $n } signatures)
    }
image-unsigned = Nobody has signed it. Its signers do it with
signature-counts = counts
signature-not = does not count
channel-title = What was said about images of this name
channel-not-used = No key of the trust root promotes images: of the trusted ones, that with the highest epoch is used.
channel-nothing-said = Nobody has promoted an image of this name.
channel-last = Last said: { $stage }, epoch { $epoch }, by { $author },
promote-title = Promote
promote-how = No key that promotes images lies on the appliance. Whoever has one signs with { $command } and pastes the file here.
promote-statement = The signed promotion
promote-button = Hand it in
promote-refused = Refused are: one that is older than the last said here, one by a key that the trust root does not list, and the approval of an image that is not trusted.
code-permission-images-words = promote an image

## Refusals
code-bad-image-what = This is no image's id.
code-bad-image-now = Open the image from the list.
code-unknown-image-what = There is no such image in the store.
code-unknown-image-now = Look for it in the list of images.
code-bad-statement-what = This is no signed promotion of this name.
code-bad-statement-now = Paste what was signed, whole and as it was.
code-channel-moved-what = Another promotion came since you looked.
code-channel-moved-now = Look at the image again and decide anew.
code-channel-rolled-back-what = The promotion is older than the last one here.
code-channel-rolled-back-now = An order of before does not come back: have it signed anew.
code-statement-refused-what = No key that promotes images here has signed it.
code-statement-refused-now = Have it signed by a key that the trust root lists for channels.
