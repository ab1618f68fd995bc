(** # Binomial expectations, and one inequality for every number of candidates

For Theorem A of the chapter *Where the bound ends*. [B mu k f 0] is the mean of [f N] for a binomial
number [N] of [k] trials with probability [mu]. The last step of Theorem A is one polynomial
inequality in [n mu >= 0] and [mu] in [0, 1]. *)
From MLCPC Require Export capping.
Open Scope R_scope.

Section Bin.
Variable mu : R.
Hypothesis mu_01 : 0 <= mu <= 1.
Notation q := (1 - mu).

Fixpoint B (k : nat) (f : nat -> R) (n : nat) : R :=
  match k with O => f n | S k' => q * B k' f n + mu * B k' f (S n) end.
Fixpoint BR (k : nat) (f : R -> R) (x : R) : R :=
  match k with O => f x | S k' => q * BR k' f x + mu * BR k' f (x + 1) end.

Lemma B_le k f g n : (forall i, f i <= g i) -> B k f n <= B k g n.
Proof.
  intros H. revert n; induction k as [|k IH]; intros n; simpl; [apply H|].
  apply Rplus_le_compat; apply Rmult_le_compat_l; try lra; apply IH.
Qed.

Lemma B_ext k f g n : (forall i, f i = g i) -> B k f n = B k g n.
Proof.
  intros H. revert n; induction k as [|k IH]; intros n; simpl; [apply H|].
  rewrite !IH; reflexivity.
Qed.

Lemma B_lin k a b f g n : B k (fun i => a * f i + b * g i) n = a * B k f n + b * B k g n.
Proof. revert n; induction k as [|k IH]; intros n; simpl; [reflexivity|]. rewrite !IH; ring. Qed.

Lemma B_const k c n : B k (fun _ => c) n = c.
Proof. revert n; induction k as [|k IH]; intros n; simpl; [reflexivity|]. rewrite !IH; ring. Qed.

Lemma B_shift k f n : B k (fun i => f (S i)) n = B k f (S n).
Proof. revert n; induction k as [|k IH]; intros n; simpl; [reflexivity|]. rewrite !IH; ring. Qed.

Lemma BR_B k f n : BR k f (INR n) = B k (fun i => f (INR i)) n.
Proof.
  revert n; induction k as [|k IH]; intros n; simpl BR; simpl B; [reflexivity|].
  rewrite <- S_INR, !IH. reflexivity.
Qed.

Definition d0 (n : nat) : R := match n with O => 1 | _ => 0 end.
Definition d1 (n : nat) : R := match n with S O => 1 | _ => 0 end.

Lemma B_d0_S k n : B k d0 (S n) = 0.
Proof. revert n; induction k as [|k IH]; intros n; simpl; [reflexivity|]. rewrite !IH; ring. Qed.
Lemma B_d0 k : B k d0 0 = q ^ k.
Proof. induction k as [|k IH]; simpl; [reflexivity|]. rewrite B_d0_S, IH. ring. Qed.
Lemma B_d1_SS k n : B k d1 (S (S n)) = 0.
Proof. revert n; induction k as [|k IH]; intros n; simpl; [reflexivity|]. rewrite !IH; ring. Qed.
Lemma B_d1_1 k : B k d1 1 = q ^ k.
Proof. induction k as [|k IH]; simpl; [reflexivity|]. rewrite B_d1_SS, IH. ring. Qed.
Lemma B_d1 k : B (S k) d1 0 = INR (S k) * mu * q ^ k.
Proof.
  induction k as [|k IH]; [simpl; ring|].
  change (B (S (S k)) d1 0) with (q * B (S k) d1 0 + mu * B (S k) d1 1).
  rewrite IH, B_d1_1, (S_INR (S k)). simpl pow. ring.
Qed.

Lemma size_bias k f n : B (S k) (fun i => INR i * f i) n
  = INR n * B (S k) f n + INR (S k) * mu * B k f (S n).
Proof.
  revert n; induction k as [|k IH]; intros n.
  { cbn [B]. rewrite (S_INR n). change (INR 1) with 1. ring. }
  change (B (S (S k)) (fun i => INR i * f i) n)
    with (q * B (S k) (fun i => INR i * f i) n + mu * B (S k) (fun i => INR i * f i) (S n)).
  rewrite !IH. rewrite (S_INR (S k)), (S_INR n).
  change (B (S (S k)) f n) with (q * B (S k) f n + mu * B (S k) f (S n)).
  change (B (S k) f (S n)) with (q * B k f (S n) + mu * B k f (S (S n))). ring.
Qed.

Definition g3 (n : nat) : R := / ((INR n + 1) * (INR n + 2)).

Lemma B_g3 j : INR (S j) * INR (S (S j)) * mu ^ 2 * B j g3 0
  = 1 - q ^ S (S j) - INR (S (S j)) * mu * q ^ S j.
Proof.
  set (f1 := fun n : nat => / (INR n * (INR n + 1))).
  set (f2 := fun n : nat => (INR n - 1) * / ((INR n - 1) * INR n)).
  assert (H1 : B j g3 0 = B j f1 1).
  { rewrite <- B_shift. apply B_ext; intros i. unfold g3, f1. rewrite S_INR. f_equal. ring. }
  pose proof (size_bias j f1 0) as H2. simpl (INR 0) in H2. rewrite Rmult_0_l, Rplus_0_l in H2.
  assert (H3 : B (S j) (fun i => INR i * f1 i) 0 = B (S j) f2 1).
  { rewrite <- B_shift. apply B_ext; intros i. unfold f1, f2. rewrite S_INR.
    replace (INR i + 1 - 1) with (INR i) by ring. reflexivity. }
  pose proof (size_bias (S j) f2 0) as H4. simpl (INR 0) in H4. rewrite Rmult_0_l, Rplus_0_l in H4.
  assert (H5 : B (S (S j)) (fun i => INR i * f2 i) 0
    = B (S (S j)) (fun i => 1 * (1 * 1 + (-1) * d0 i) + (-1) * d1 i) 0).
  { apply B_ext; intros i. unfold f2. destruct i as [|[|i]].
    - simpl. ring.
    - simpl. replace (1 - 1) with 0 by ring. ring.
    - rewrite !S_INR. simpl d0; simpl d1. pose proof (pos_INR i). field. split; lra. }
  rewrite !B_lin, B_const, B_d0, B_d1 in H5.
  transitivity (INR (S (S j)) * mu * (INR (S j) * mu * B j f1 1)); [rewrite H1; ring|].
  rewrite <- H2, H3, <- H4, H5. ring.
Qed.

(** Bernoulli coordinates are worst for a convex function. *)
Lemma convex_bin {A} (l : list A) w (v : A -> R) (phi : R -> R) k x :
  (forall a, 0 <= w a) -> sum l w = 1 -> (forall a, 0 <= v a <= 1) ->
  sum l (fun a => w a * v a) = mu ->
  (forall s p, 0 <= s -> 0 <= p <= 1 -> phi (s + p) <= (1 - p) * phi s + p * phi (s + 1)) ->
  0 <= x -> E l w k (fun s => phi (x + sum s v)) <= BR k phi x.
Proof.
  intros Hw H1 Hv Hmu Hphi. revert x; induction k as [|k IH]; intros x Hx.
  - simpl. rewrite Rplus_0_r. lra.
  - simpl E. simpl BR.
    apply Rle_trans with (sum l (fun a => w a * BR k phi x + w a * v a * (BR k phi (x + 1) - BR k phi x))).
    + apply sum_le; intros a _.
      replace (w a * BR k phi x + w a * v a * (BR k phi (x + 1) - BR k phi x))
        with (w a * ((1 - v a) * BR k phi x + v a * BR k phi (x + 1))) by ring.
      apply Rmult_le_compat_l; [apply Hw|]. pose proof (Hv a) as Ha.
      apply Rle_trans with ((1 - v a) * E l w k (fun s => phi (x + sum s v))
        + v a * E l w k (fun s => phi (x + 1 + sum s v))).
      * rewrite <- !E_scal, <- E_plus. apply E_le; [exact Hw|]. intros s _. cbn [finite.sum].
        replace (x + (v a + sum s v)) with (x + sum s v + v a) by ring.
        replace (x + 1 + sum s v) with (x + sum s v + 1) by ring. apply Hphi; [|exact Ha].
        assert (0 <= sum s v) by (apply sum_nonneg; intros c _; apply (proj1 (Hv c))). lra.
      * apply Rplus_le_compat; apply Rmult_le_compat_l; try lra; apply IH; lra.
    + rewrite sum_plus, !sum_scal_r, H1, Hmu. lra.
Qed.

(** Truncated negative binomial series. *)
Lemma negbin n : q ^ n * (1 + INR n * mu + INR n * (INR n + 1) * mu ^ 2 / 2
  + INR n * (INR n + 1) * (INR n + 2) * mu ^ 3 / 6) <= 1.
Proof.
  induction n as [|n IH]; [simpl; lra|].
  rewrite S_INR. simpl (q ^ S n). pose proof (pos_INR n) as Hn. set (N := INR n) in *.
  assert (Hq : 0 <= q ^ n) by (apply pow_le; lra).
  refine (Rle_trans _ _ _ _ IH).
  rewrite (Rmult_comm q), Rmult_assoc. apply Rmult_le_compat_l; [exact Hq|].
  assert (H0 : 0 <= (N + 1) * (N + 2) * (N + 3) * mu ^ 4).
  { apply Rmult_le_pos; [|apply pow_le; lra]. apply Rmult_le_pos; [apply Rmult_le_pos; lra|lra]. }
  apply Rminus_le.
  replace (q * (1 + (N + 1) * mu + (N + 1) * (N + 1 + 1) * mu ^ 2 / 2 +
    (N + 1) * (N + 1 + 1) * (N + 1 + 2) * mu ^ 3 / 6) -
   (1 + N * mu + N * (N + 1) * mu ^ 2 / 2 + N * (N + 1) * (N + 2) * mu ^ 3 / 6))
    with (- ((N + 1) * (N + 2) * (N + 3) * mu ^ 4) / 6) by field. lra.
Qed.
End Bin.

(** Numbers: alpha0 = 147/200, r = alpha0/(1-alpha0) = 147/53. *)
Lemma poly_pos y m : 0 <= y -> 0 <= m <= 1 ->
  0 <= ((147/53 - 182/100) * y + (2 * (147/53) - 182/100) * m - 182/100)
        * (1 + y + (y ^ 2 + y * m) / 2 + (y ^ 3 + 3 * y ^ 2 * m + 2 * y * m ^ 2) / 6)
     - (1 + y + m) * (1 - m) * (632/1000 * (y + 2 * m) * (y + 3 * m) - 182/100 * (1 - m) * (1 + y + 2 * m)).
Proof.
  intros Hy Hm.
  assert (H0 : 0 <= m * (929/125 * m ^ 3 - 91/50 * m ^ 2 - 2313/250 * m + 294/53)).
  { apply Rmult_le_pos; [lra|].
    assert (0 <= m * (m - 73/100) ^ 2) by (apply Rmult_le_pos; [lra|apply pow2_ge_0]).
    pose proof (pow2_ge_0 (m - 73/100)). nra. }
  assert (H1 : 0 <= y * (271381/19875 * m ^ 3 - 780299/79500 * m ^ 2 - 11463/5300 * m + 147/53)).
  { apply Rmult_le_pos; [lra|].
    assert (0 <= m * (m - 56/100) ^ 2) by (apply Rmult_le_pos; [lra|apply pow2_ge_0]).
    pose proof (pow2_ge_0 (m - 56/100)). nra. }
  assert (H2 : 0 <= y ^ 2 * ((619579/79500 * m ^ 2 - 28459/5300 * m + 32637/26500)
     + (68767/39750 * m - 18227/39750) * y + 2527/15900 * y ^ 2)).
  { apply Rmult_le_pos; [apply pow2_ge_0|].
    pose proof (pow2_ge_0 (y - 144/100)). pose proof (pow2_ge_0 (m - 3/10)).
    pose proof (pow2_ge_0 (y - 144/100 + 5 * m)).
    assert (0 <= m * y) by (apply Rmult_le_pos; lra). nra. }
  match goal with |- 0 <= ?e =>
    replace e with (m * (929/125 * m ^ 3 - 91/50 * m ^ 2 - 2313/250 * m + 294/53)
     + y * (271381/19875 * m ^ 3 - 780299/79500 * m ^ 2 - 11463/5300 * m + 147/53)
     + y ^ 2 * ((619579/79500 * m ^ 2 - 28459/5300 * m + 32637/26500)
     + (68767/39750 * m - 18227/39750) * y + 2527/15900 * y ^ 2)) by field end.
  lra.
Qed.

Lemma final_ineq n mu X : 0 < mu <= 1 ->
  INR (S (S n)) * INR (S (S (S n))) * mu ^ 2 * X
    = 1 - (1 - mu) ^ S (S (S n)) - INR (S (S (S n))) * mu * (1 - mu) ^ S (S n) ->
  (147/200) ^ 2 * INR (S (S n)) <= (INR (S (S (S n))) - 147/200) * INR (S (S (S n))) * (53/200) * mu ->
  INR (S (S (S n))) * mu * (1 + INR (S n) * mu) * (632/1000 * (1 - mu) ^ S n + 182/100 * X) <= 147/53.
Proof.
  intros Hmu HX Hlam. pose proof (pos_INR n) as Hn.
  pose proof (negbin mu ltac:(lra) n) as HD.
  rewrite !S_INR in *. set (N := INR n) in *. set (q := 1 - mu) in *.
  assert (Hq : 0 <= q) by (unfold q; lra).
  set (z := q ^ S n). assert (Hz : 0 <= z) by (apply pow_le, Hq).
  assert (Hp : 0 <= q ^ n) by (apply pow_le, Hq).
  replace (q ^ S (S (S n))) with (q * q * z) in HX by (unfold z; simpl; ring).
  replace (q ^ S (S n)) with (q * z) in HX by (unfold z; simpl; ring).
  fold z.
  set (y := N * mu). assert (Hy : 0 <= y) by (apply Rmult_le_pos; lra).
  set (Q := 632/1000 * (y + 2 * mu) * (y + 3 * mu) - 182/100 * q * (1 + y + 2 * mu)).
  set (R1 := (147/53 - 182/100) * y + (2 * (147/53) - 182/100) * mu - 182/100).
  assert (HR : 0 <= R1).
  { assert (Hcoef : 182/100 * ((N + 3 - 147/200) * (N + 3) * (53/200))
        <= (147/200) ^ 2 * (N + 2) * ((147/53 - 182/100) * N + (2 * (147/53) - 182/100))) by nra.
    set (cc := (N + 3 - 147/200) * (N + 3) * (53/200)) in *.
    assert (Hcc : 0 < cc) by (unfold cc; apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat; lra|lra]).
    set (dd := (147/53 - 182/100) * N + (2 * (147/53) - 182/100)) in *.
    assert (Hdd : 0 < dd) by (unfold dd; lra).
    assert (Hl2 : (147/200) ^ 2 * (N + 2) <= cc * mu).
    { unfold cc. replace (N + 2) with (N + 1 + 1) by ring. replace (N + 3) with (N + 1 + 1 + 1) by ring. lra. }
    assert (182/100 * cc <= cc * mu * dd).
    { eapply Rle_trans; [exact Hcoef|]. apply Rmult_le_compat_r; lra. }
    assert (182/100 <= mu * dd) by (apply Rmult_le_reg_l with cc; lra).
    unfold R1, y, dd in *. lra. }
  apply Rmult_le_reg_l with ((N + 2) * mu); [apply Rmult_lt_0_compat; lra|].
  replace ((N + 2) * mu * ((N + 1 + 1 + 1) * mu * (1 + (N + 1) * mu) * (632 / 1000 * z + 182 / 100 * X)))
    with ((1 + (N + 1) * mu) * (632 / 1000 * ((N + 2) * (N + 3) * mu ^ 2) * z
       + 182 / 100 * ((N + 1 + 1) * (N + 1 + 1 + 1) * mu ^ 2 * X))) by ring.
  rewrite HX.
  replace ((1 + (N + 1) * mu) * (632 / 1000 * ((N + 2) * (N + 3) * mu ^ 2) * z +
     182 / 100 * (1 - q * q * z - (N + 1 + 1 + 1) * mu * (q * z))))
    with ((1 + y + mu) * (182/100) + (1 + y + mu) * z * Q) by (unfold Q, y, q; ring).
  replace ((N + 2) * mu * (147 / 53)) with ((1 + y + mu) * (182/100) + R1) by (unfold R1, y; field).
  apply Rplus_le_compat_l.
  destruct (Rle_lt_dec Q 0) as [HQ|HQ].
  - assert (0 <= (1 + y + mu) * z * - Q) by (apply Rmult_le_pos; [apply Rmult_le_pos; lra|lra]). lra.
  - set (D := 1 + y + (y ^ 2 + y * mu) / 2 + (y ^ 3 + 3 * y ^ 2 * mu + 2 * y * mu ^ 2) / 6).
    assert (HD1 : q ^ n * D <= 1).
    { eapply Rle_trans; [|exact HD]. right. unfold D, y. field. }
    pose proof (poly_pos y mu Hy ltac:(lra)) as HF. fold q in HF. fold Q in HF. fold R1 in HF. fold D in HF.
    replace ((1 + y + mu) * z * Q) with (q ^ n * ((1 + y + mu) * q * Q)) by (unfold z; simpl; ring).
    apply Rle_trans with (q ^ n * (R1 * D)); [apply Rmult_le_compat_l; [exact Hp|lra]|].
    replace (q ^ n * (R1 * D)) with (R1 * (q ^ n * D)) by ring.
    rewrite <- (Rmult_1_r R1) at 2. apply Rmult_le_compat_l; assumption.
Qed.

Lemma exp_m1 : 147/200 <= 2 * exp (-1).
Proof.
  assert (step : forall a b x y, 0 <= a -> a <= exp x -> b <= a * a -> y = x + x -> b <= exp y).
  { intros a b x y Ha Hx Hb ->. rewrite exp_plus. eapply Rle_trans; [exact Hb|].
    apply Rmult_le_compat; assumption. }
  assert (H0 : 1023/1024 <= exp (-1/1024)) by (pose proof (exp_ineq1_le (-1/1024)); lra).
  assert (H1 : 99804782/100000000 <= exp (-1/512)) by (refine (step _ _ _ _ _ H0 _ _); lra).
  assert (H2 : 99609945/100000000 <= exp (-1/256)) by (refine (step _ _ _ _ _ H1 _ _); lra).
  assert (H3 : 99221411/100000000 <= exp (-1/128)) by (refine (step _ _ _ _ _ H2 _ _); lra).
  assert (H4 : 98448884/100000000 <= exp (-1/64)) by (refine (step _ _ _ _ _ H3 _ _); lra).
  assert (H5 : 96921827/100000000 <= exp (-1/32)) by (refine (step _ _ _ _ _ H4 _ _); lra).
  assert (H6 : 93938405/100000000 <= exp (-1/16)) by (refine (step _ _ _ _ _ H5 _ _); lra).
  assert (H7 : 88244239/100000000 <= exp (-1/8)) by (refine (step _ _ _ _ _ H6 _ _); lra).
  assert (H8 : 77870457/100000000 <= exp (-1/4)) by (refine (step _ _ _ _ _ H7 _ _); lra).
  assert (H9 : 60638080/100000000 <= exp (-1/2)) by (refine (step _ _ _ _ _ H8 _ _); lra).
  assert (H10 : 3676976/10000000 <= exp (-1)) by (refine (step _ _ _ _ _ H9 _ _); lra).
  lra.
Qed.

