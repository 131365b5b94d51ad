package postprocess

import "math"

// DARK's parameters and their reasons. TestErrorTable prints the errors they
// lead to, for all sizes.
const (
	// kernelSigma is the modulation kernel's. The paper's choice, 1, is the
	// matched filter, best against white noise; but networks err smoothly, and
	// a peak on a slope or beside another person's moves 1 + kernelSigma^2 times
	// as far as unsmoothed. Mean errors at sigma 4 (S), in heatmap pixels:
	//
	//	                             argmax quarter   1.0    0.7    0.5
	//	clean                         0.385   0.181  0.000  0.000  0.000
	//	white noise of 5 %            0.905   0.754  0.056  0.064  0.086
	//	white noise of 15 %           1.545   1.459  0.168  0.191  0.259
	//	smooth noise of 5 %           0.400   0.205  0.224  0.165  0.135
	//	background of 10 %, noise 5 % 0.905   0.754  0.056  0.064  0.086
	//	half a peak 4 sigma beside    0.385   0.181  0.142  0.036  0.013
	//	half a peak 3 sigma beside    0.388   0.188  0.777  0.330  0.174
	kernelSigma = 0.7
	// kernelReach is where the kernel is cut off, in its own sigmas: what is
	// beyond weighs less than 1.2 %, and the expected moments are cut off alike.
	kernelReach = 3
	// maxRadius bounds the kernel's radius in pixels, so that it lives on the
	// stack; it is reached at sigma 15, that of an input 960 pixels high.
	maxRadius = 32
	// maxSteps bounds the Newton steps. One is exact on a clean target; noise
	// that puts the highest pixel far from the peak needs a second or third.
	maxSteps = 3
	// lastStep is the longest step, in pixels, after which no other follows.
	lastStep = 0.5
	// maxShift bounds how far a peak may be from the highest pixel, in sigmas.
	maxShift = 2
	// minCurvature is the least curvature of a peak. A target has 0.33, a peak
	// twice as wide 0.11, three times as wide 0.05, a plain 0.
	minCurvature = 0.05
)

// dark returns the place of the peak whose highest pixel is (x, y), as DARK
// finds it (Zhang et al., "Distribution-Aware Coordinate Representation for
// Human Pose Estimation", CVPR 2020): modulate the map h with a Gaussian kernel,
//
//	h'(p) = sum over pixels q of h(q) * exp(-|q-p|^2 / (2 k^2)), k = 0.7 sigma,
//
// and take a Newton step on log h', which is quadratic for a Gaussian peak, so
// that the step is exact. Two things are done in closed form here. The
// derivatives of log h' need no finite differences: with the mean m and
// covariance C of q-p under the weights of the sum,
//
//	gradient = m / k^2,   Hessian = C / k^4 - I / k^2.
//
// And at a border, where the kernel is cut off on one side and m would point
// inwards, the mean and variance that a perfect target at p would have under
// the same cut are subtracted instead of 0 and k^2 sigma^2/(k^2+sigma^2), so
// that a target's own place is where the gradient is 0 wherever it lies.
//
// A peak that is no maximum, or is too flat or too far away, gets the quarter
// pixel instead.
func (m heatmap) dark(x, y int, sigma float64) (px, py float64) {
	px, py = float64(x), float64(y)
	var ax, ay axis
	for range maxSteps {
		ax.centre(px, m.w, sigma)
		ay.centre(py, m.h, sigma)
		dx, dy, ok := m.step(&ax, &ay)
		px, py = px+dx, py+dy
		if !ok || !(math.Hypot(px-float64(x), py-float64(y)) <= maxShift*sigma) {
			return m.quarter(x, y)
		}
		if math.Hypot(dx, dy) <= lastStep {
			break
		}
	}
	return min(max(px, 0), float64(m.w-1)), min(max(py, 0), float64(m.h-1))
}

// axis is the kernel along one axis, centred at p: of each pixel from first on,
// the weight w, w*t and w*t^2, where t is the pixel's distance from p.
type axis struct {
	first, taps int
	w, wt, wtt  [2*maxRadius + 1]float64 // taps of each
	mean, shape float64                  // of a perfect target; shape is variance*(1/k^2 + 1/sigma^2), 1 inside the map
	k2          float64                  // the kernel's variance
}

// centre puts the kernel at p of an axis of n pixels, cut off at its ends.
func (a *axis) centre(p float64, n int, sigma float64) {
	k := kernelSigma * sigma
	a.k2 = k * k
	radius := min(maxRadius, int(math.Ceil(kernelReach*k)))
	nearest := min(max(int(math.Round(p)), 0), n-1)
	a.first = max(0, nearest-radius)
	a.taps = min(n-1, nearest+radius) - a.first + 1
	var e0, e1, e2 float64
	for i := range a.taps {
		t := float64(a.first+i) - p
		w := math.Exp(-t * t / (2 * a.k2))
		a.w[i], a.wt[i], a.wtt[i] = w, w*t, w*t*t
		target := math.Exp(-t * t / (2 * sigma * sigma))
		e0, e1, e2 = e0+target*w, e1+target*w*t, e2+target*w*t*t
	}
	a.mean = e1 / e0
	a.shape = (e2/e0 - a.mean*a.mean) * (1/a.k2 + 1/(sigma*sigma))
}

// step returns the Newton step from the kernel's centre, and whether the map is
// curved like a peak there.
func (m heatmap) step(ax, ay *axis) (dx, dy float64, ok bool) {
	s0, sx, sy, sxx, sxy, syy := m.moments(ax, ay)
	if !(s0 > 0) {
		return 0, 0, false
	}
	mx, my := sx/s0, sy/s0
	// The gradient times k^2, and the curvature (minus the Hessian) times k^2.
	gx, gy := mx-ax.mean, my-ay.mean
	cxx := ax.shape - (sxx/s0-mx*mx)/ax.k2
	cyy := ay.shape - (syy/s0-my*my)/ay.k2
	cxy := -(sxy/s0 - mx*my) / ax.k2
	det := cxx*cyy - cxy*cxy
	// Both eigenvalues of the curvature are at least minCurvature. NaN is not.
	if !(cxx >= minCurvature && (cxx-minCurvature)*(cyy-minCurvature) >= cxy*cxy) || math.IsInf(det, 0) {
		return 0, 0, false
	}
	return (cyy*gx - cxy*gy) / det, (cxx*gy - cxy*gx) / det, true
}

// moments returns the kernel-weighted sums over the window of the map's values
// times 1, tx, ty, tx^2, tx*ty and ty^2, where (tx, ty) is the distance from
// the kernel's centre. Negative noise counts as it is.
func (m heatmap) moments(ax, ay *axis) (s0, sx, sy, sxx, sxy, syy float64) {
	for j := range ay.taps {
		start := (ay.first+j)*m.w + ax.first
		row := m.data[start : start+ax.taps]
		w, wt, wtt := ax.w[:len(row)], ax.wt[:len(row)], ax.wtt[:len(row)]
		var r0, r1, r2 float64
		for i := range row {
			v := float64(row[i])
			r0 += w[i] * v
			r1 += wt[i] * v
			r2 += wtt[i] * v
		}
		s0 += ay.w[j] * r0
		sx += ay.w[j] * r1
		sxx += ay.w[j] * r2
		sy += ay.wt[j] * r0
		sxy += ay.wt[j] * r1
		syy += ay.wtt[j] * r0
	}
	return s0, sx, sy, sxx, sxy, syy
}
