// Package preprocess turns picture bytes and person boxes into network input:
// decode, orient, crop, normalise.
package preprocess

// Box is a person's bounding box in pixels of the upright picture, origin at
// the top left; it may reach outside the picture.
type Box struct{ X, Y, W, H float64 }
